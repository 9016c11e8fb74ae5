"""What is done to nodes and pods, as the real API server takes it."""

import json
import time

import pytest

from slipway_scheduler.kubernetes.api import Resource
from slipway_scheduler.kubernetes.limits import Rank
from slipway_scheduler.leadership import Leadership, LeadershipLostError
from slipway_scheduler.nodes.hands import Hands
from slipway_scheduler.nodes.models import Kind, PodSeen
from slipway_scheduler.nodes.room import NOTHING
from support.waiting import eventually

NODES = Resource("v1", "nodes")


@pytest.fixture
def hands(ground):
    leadership = Leadership(1, until=time.monotonic() + 600)
    return Hands(ground.api, leadership, sessions_namespace=ground.sessions)


async def spec_of(ground, node):
    return json.loads(await ground.api.get(NODES, node))["spec"]


async def member(ground):
    """A member on a node, as the loop sees it."""
    await ground.add_session("m", role="member")
    await ground.runs("m")
    metadata = (await ground.pod("m"))["metadata"]
    return PodSeen("m", metadata["uid"], metadata["resourceVersion"], Kind.MEMBER, NOTHING)


async def test_a_machine_that_is_no_node_becomes_a_closed_one(ground, hands):
    name = f"{ground.pool}-ghost"

    await hands.close(name, pool=ground.pool)
    await hands.close(name, pool=ground.pool)

    assert (await spec_of(ground, name))["unschedulable"] is True
    await eventually(lambda: shown(ground, name), what="the node in the mirror")


async def shown(ground, name):
    return name in ground.pool_nodes()


async def test_a_node_is_free_when_no_session_is_on_it_and_it_is_closed(ground, hands):
    async with ground.following():
        await ground.add_session("s")
        await ground.runs("s")
        node = await ground.node_of("s")
    assert not await hands.is_free(node)  # it is open
    await hands.close(node, pool=ground.pool)
    assert not await hands.is_free(node)  # a session is on it

    await ground.end("s")

    await eventually(lambda: hands.is_free(node), what="a free node")
    await hands.open(node)
    assert not (await spec_of(ground, node)).get("unschedulable")
    assert await hands.is_free("no-such-node")


async def test_a_member_is_put_away(ground, hands):
    async with ground.following():
        seen = await member(ground)

    await hands.put_away([seen])

    async def gone():
        return await ground.node_of("m") is None

    await eventually(gone, what="the end of the member")


async def test_a_member_that_was_claimed_meanwhile_is_not(ground, hands):
    async with ground.following():
        seen = await member(ground)
        role = "/metadata/labels/slipway.dev~1role"
        claim = [{"op": "replace", "path": role, "value": "session"}]
        pods = Resource("v1", "pods", ground.sessions)
        await ground.api.patch(pods, "m", claim, rank=Rank.SESSION)

        await hands.put_away([seen])

        pod = await ground.pod("m")
        assert "deletionTimestamp" not in pod["metadata"]
        assert pod["metadata"]["labels"]["slipway.dev/role"] == "session"


async def test_who_leads_no_more_touches_nothing(ground):
    late = Hands(
        ground.api,
        Leadership(1, until=time.monotonic() - 1),
        sessions_namespace=ground.sessions,
    )

    with pytest.raises(LeadershipLostError):
        await late.close(f"{ground.pool}-ghost", pool=ground.pool)
    assert ground.pool_nodes() == []
