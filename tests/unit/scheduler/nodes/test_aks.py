"""Agent pools of AKS: what is sent, and what each answer means.

With ``SLIPWAY_TEST_AKS=SUBSCRIPTION/GROUP/CLUSTER/POOL``, the first part runs against that real
pool too, as whom the environment names; it ends at the size at which it began.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from azure.mgmt.containerservice.aio import ContainerServiceClient

from slipway_scheduler.nodes.aks import AksPools, AksSettings
from slipway_scheduler.nodes.base import (
    CloudBusyError,
    CloudRefusedError,
    CloudSilentError,
    CloudThrottledError,
    Progress,
)
from slipway_scheduler.nodes.models import PoolStatus
from unit.scheduler.nodes.aks_service import (
    CLUSTER,
    ENDPOINT,
    GROUP,
    SUBSCRIPTION,
    AksService,
    Credential,
    LocalTransport,
)

REAL = os.environ.get("SLIPWAY_TEST_AKS")
SERVICES = ["played", *([pytest.param("real", marks=pytest.mark.aks)] if REAL else [])]
SETTINGS = AksSettings(subscription=SUBSCRIPTION, resource_group=GROUP, cluster=CLUSTER)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Played:
    service: AksService
    pools: AksPools
    clock: Clock
    stack: AsyncExitStack

    async def later(self, seconds: float = 10) -> None:
        self.clock.now += seconds

    async def status(self, pool: str = "work") -> PoolStatus:
        return (await self.pools.look())[pool]

    def again(self) -> AksPools:
        """As a scheduler that has just been started."""
        return AksPools(_client(self.service), SETTINGS, clock=self.clock)


def _client(service: AksService) -> ContainerServiceClient:
    return ContainerServiceClient(
        Credential(), SUBSCRIPTION, retry_total=0, transport=LocalTransport(service.port)
    )


@pytest.fixture
async def played() -> AsyncIterator[Played]:
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(AksService.run())
        client = await stack.enter_async_context(_client(service))
        clock = Clock()
        yield Played(service, AksPools(client, SETTINGS, clock=clock), clock, stack)


@dataclass
class Some:
    """A pool of some service, and how to let its work go on."""

    pools: AksPools
    name: str
    played: Played | None

    async def until_over(self, operation: str) -> Progress:
        while True:
            progress = await self.pools.progress(operation)
            if progress.over:
                return progress
            if self.played is None:
                await asyncio.sleep(10)
            else:
                self.played.service.finish()
                await self.played.later()

    async def status(self) -> PoolStatus:
        return (await self.pools.look())[self.name]


@pytest.fixture(params=SERVICES)
async def some(request, played) -> AsyncIterator[Some]:
    if request.param == "played":
        played.service.add("work", count=1)
        yield Some(played.pools, "work", played)
        return
    assert REAL is not None
    subscription, group, cluster, pool = REAL.split("/")
    settings = AksSettings(subscription=subscription, resource_group=group, cluster=cluster)
    async with AsyncExitStack() as stack:
        yield Some(await AksPools.open(settings, stack), pool, None)


@pytest.mark.timeout(3600)
async def test_a_pool_grows_by_one_machine_and_gives_that_one_back(some):
    before = await some.status()
    machines = await some.pools.machines(some.name)
    assert before.target == len(machines)

    operation = await some.pools.set_size(before, before.target + 1)
    assert (await some.status()).target == before.target + 1
    assert (await some.status()).busy
    assert await some.until_over(operation) == Progress(over=True)

    (new,) = await some.pools.machines(some.name) - machines
    grown = await some.status()
    assert not grown.busy
    operation = await some.pools.remove(grown, [new])
    assert await some.until_over(operation) == Progress(over=True)

    assert await some.pools.machines(some.name) == machines
    assert (await some.status()).target == before.target


@pytest.mark.timeout(3600)
async def test_an_order_that_is_based_on_an_old_look_is_refused(some):
    old = await some.status()
    operation = await some.pools.set_size(old, old.target)
    await some.until_over(operation)

    with pytest.raises(CloudBusyError):
        await some.pools.set_size(old, old.target + 1)

    assert (await some.status()).target == old.target


async def test_the_whole_pool_is_sent_back_with_another_count_and_the_version_it_had(played):
    pool = played.service.add("work", count=1, nodeTaints=["slipway.dev/pool=work:NoSchedule"])
    status = await played.status()

    await played.pools.set_size(status, 4)

    (order,) = played.service.orders()
    assert order.method == "PUT"
    assert order.path.endswith("/managedClusters/slipway/agentPools/work")
    assert order.if_match == status.version
    assert order.body["properties"]["count"] == 4
    assert order.body["properties"]["nodeTaints"] == pool.properties["nodeTaints"]
    assert not {"eTag", "provisioningState"} & order.body["properties"].keys()


async def test_a_paused_leaders_size_is_refused_after_another_has_written(played):
    played.service.add("work", count=1)
    paused = await played.status()
    successor = played.again()
    await successor.set_size((await successor.look())["work"], 2)
    played.service.finish()

    with pytest.raises(CloudBusyError):
        await played.pools.set_size(paused, 9)

    assert played.service.pools["work"].properties["count"] == 2


async def test_an_operation_is_asked_about_at_the_pace_that_the_service_names(played):
    played.service.add("work")
    operation = await played.pools.set_size(await played.status(), 1)
    asked = len(played.service.seen)

    for _ in range(5):
        assert await played.pools.progress(operation) == Progress(over=False)
    assert len(played.service.seen) == asked + 1

    await played.later(7)
    await played.pools.progress(operation)
    assert len(played.service.seen) == asked + 2


async def test_a_scheduler_that_was_started_since_can_ask_about_it(played):
    played.service.add("work")
    operation = await played.pools.set_size(await played.status(), 1)
    played.service.finish()

    assert await played.again().progress(operation) == Progress(over=True)


@pytest.mark.parametrize("by_location", [False, True])
async def test_an_operation_that_failed_says_why(played, by_location):
    played.service.by_location = by_location
    played.service.add("work")
    operation = await played.pools.set_size(await played.status(), 1)
    assert not (await played.pools.progress(operation)).over
    await played.later()
    played.service.finish(
        error={"code": "AllocationFailed", "message": "No machines of this size at present."}
    )

    progress = await played.pools.progress(operation)

    assert progress == Progress(
        over=True, problem="AllocationFailed: No machines of this size at present."
    )


async def test_a_location_that_answers_without_a_body_is_over(played):
    played.service.by_location = True
    played.service.add("work", count=1)
    (machine,) = await played.pools.machines("work")
    operation = await played.pools.remove(await played.status(), [machine])
    played.service.finish()

    assert await played.pools.progress(operation) == Progress(over=True)


async def test_an_operation_that_is_forgotten_is_over(played):
    progress = await played.pools.progress(
        f"{ENDPOINT}/subscriptions/{SUBSCRIPTION}/providers/Microsoft.ContainerService"
        "/locations/westeurope/operations/long?api-version=2026-08-01"
    )

    assert progress == Progress(over=True)


@pytest.mark.parametrize(
    "address",
    ["https://elsewhere.example/x", "https://management.azure.com.elsewhere.example/x", "x"],
)
async def test_our_token_goes_to_no_other_address(played, address):
    progress = await played.pools.progress(address)

    assert progress.over
    assert progress.problem
    assert played.service.seen == []


async def test_the_pools_failure_says_why(played):
    played.service.add(
        "work",
        count=3,
        provisioningState="Failed",
        status={"provisioningError": {"code": "SkuNotAvailable", "message": "Not here."}},
    )

    status = await played.status()

    assert status.failed == "SkuNotAvailable: Not here."
    assert not status.busy


@pytest.mark.parametrize("state", ["Scaling", "Updating", "Upgrading", "Deleting", "Creating"])
async def test_a_pool_that_is_being_worked_on_is_busy(played, state):
    played.service.add("work", provisioningState=state)

    assert (await played.status()).busy == state.lower()


async def test_a_system_pool_keeps_a_node(played):
    played.service.add("work", mode="System", count=1)

    assert (await played.status()).minimum == 1


async def test_a_pool_with_an_autoscaler_of_its_own_is_not_ours(played):
    played.service.add("work", enableAutoScaling=True, minCount=0, maxCount=5)

    assert "autoscaler" in (await played.status()).unmanaged


async def test_a_stopped_pool_is_not_ours(played):
    played.service.add("work", powerState={"code": "Stopped"})

    assert (await played.status()).unmanaged == "the pool is stopped"


async def test_the_service_is_asked_every_ten_seconds_and_anew_after_an_order(played):
    played.service.add("work")
    for _ in range(5):
        await played.pools.look()
    assert len(played.service.seen) == 1

    await played.later()
    await played.pools.look()
    assert len(played.service.seen) == 2

    await played.pools.set_size(await played.status(), 1)
    assert (await played.status()).busy == "scaling"


QUOTA = "Operation could not be completed as it exceeds the approved Total Regional Cores quota."


@pytest.mark.parametrize(
    ("status", "code", "message", "error"),
    [
        (403, "QuotaExceeded", QUOTA, CloudRefusedError),
        (400, "ErrCode_InsufficientVCPUQuota", "Insufficient vcpu quota.", CloudRefusedError),
        (409, "OperationNotAllowed", QUOTA, CloudRefusedError),
        (403, "AuthorizationFailed", "The client has no right to do this.", CloudRefusedError),
        (404, "NotFound", "The agent pool was not found.", CloudRefusedError),
        (409, "OperationNotAllowed", "Another operation is in progress.", CloudBusyError),
        (400, "OperationNotAllowed", "Another operation is in progress.", CloudBusyError),
        (412, "EtagMismatch", "It has changed.", CloudBusyError),
        (500, "InternalServerError", "Something broke.", CloudSilentError),
        (503, "ServerBusy", "Try again.", CloudSilentError),
    ],
)
@pytest.mark.parametrize("order", ["PUT", "POST"])
async def test_what_a_refusal_means(played, order, status, code, message, error):
    played.service.add("work", count=1)
    seen = await played.status()
    played.service.answer_next(order, status, code, message)

    with pytest.raises(error) as raised:
        if order == "PUT":
            await played.pools.set_size(seen, 2)
        else:
            await played.pools.remove(seen, ["aks-work-30513148-vmss000001"])

    assert str(raised.value) == f"{code}: {message}"
    assert len(played.service.orders()) == 1  # the library repeats nothing by itself


@pytest.mark.parametrize(("headers", "pause"), [({"Retry-After": "37"}, 37.0), ({}, 60.0)])
async def test_a_pause_that_is_asked_for_is_told_and_not_waited_for(played, headers, pause):
    played.service.add("work")
    seen = await played.status()
    played.service.answer_next("PUT", 429, "Throttled", "Too many requests.", **headers)

    with pytest.raises(CloudThrottledError) as raised:
        async with asyncio.timeout(5):
            await played.pools.set_size(seen, 2)

    assert raised.value.retry_after == pause


async def test_an_answer_that_was_lost_leaves_it_open_whether_it_was_done(played):
    played.service.add("work")
    seen = await played.status()
    played.service.lose_next("PUT")

    # The HTTP client sends it once more by itself, and then meets what it did the first time.
    with pytest.raises((CloudSilentError, CloudBusyError)):
        await played.pools.set_size(seen, 2)

    assert (await played.status()).target == 2  # the next look tells


async def test_a_removal_whose_answer_was_lost_is_not_taken_for_refused(played):
    played.service.add("work", count=1)
    machines = await played.pools.machines("work")
    seen = await played.status()
    played.service.lose_next("POST")

    with pytest.raises(CloudSilentError):
        await played.pools.remove(seen, sorted(machines))

    assert (await played.status()).target == 0


async def test_removing_a_machine_twice_does_no_more(played):
    played.service.add("work", count=2)
    first, second = sorted(await played.pools.machines("work"))
    await played.pools.remove(await played.status(), [first])
    played.service.finish()
    await played.pools.remove(await played.status(), [first])
    played.service.finish()

    assert await played.pools.machines("work") == {second}
    assert (await played.status()).target == 1
