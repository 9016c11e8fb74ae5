"""Sessions as pods: what schedulers do to a cluster, whatever happens to them or to it.

Most of it is shown twice, on the fake API server and on a real one with fake nodes. What a real
cluster does not do on demand (lost answers, silent watches, lost nodes, images that cannot be had)
is shown on the fake alone, which contract tests hold to the real one.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import yaml

from integration.scheduler.pods_place import (
    RUNTIME,
    Json,
    Place,
    Scheduler,
    Site,
    is_ready,
    names,
    namespace_in,
    versions,
)
from slipway_common.contracts.base import utc_now
from slipway_common.contracts.sessions import EndReason, SessionKind, SessionStage, SessionWanted
from slipway_common.metrics import scheduler as metrics
from slipway_local.cluster.cluster import Cluster
from slipway_local.files import try_lock
from slipway_local.settings import read_settings
from slipway_scheduler import controller as controller_module
from slipway_scheduler import reconcile
from slipway_scheduler.kubernetes import labels, observation
from slipway_scheduler.kubernetes.errors import ApiError
from slipway_scheduler.units import pods as pods_module
from slipway_scheduler.warm import pools as pools_module
from slipway_scheduler.warm.policies import WarmPolicy
from slipway_scheduler.warm.sizing import Brake
from support.kubernetes.audit import check_audit_log
from support.kubernetes.containers import Course
from support.kubernetes.faults import LoseAnswer, LoseRequest, Refuse, Slow
from support.kubernetes.machines import Machines
from support.kubernetes.real import ControlPlane
from support.kubernetes.server import FakeApiServer
from support.running_cluster import RunningCluster
from support.waiting import eventually
from support.weather import Weather

ON_THE_FAKE = pytest.mark.parametrize("surroundings", ["fake"], indirect=True)
"""What a real cluster does not do on demand."""


PLAYED: set[str] = set()
"""Sessions whose pods the tests themselves made, in ways that no scheduler would."""


class KilledError(BaseException):
    """In place of a kill: nothing of ours can catch it."""


@dataclass
class Fake:
    server: FakeApiServer
    machines: Machines

    def goes(self, course: Course) -> None:
        """From now on pods go like this."""
        self.machines._kubelets.course = lambda _: course

    def lives(self) -> int:
        """Pods whose containers run, whatever the API server knows of them."""
        return sum(not life.done() for life in self.machines._kubelets._lives.values())

    def writes(self, *verbs: str, plural: str = "pods") -> list[Json]:
        """What schedulers wrote, in the order in which it was done."""
        lines = [json.loads(line) for line in self.server.audit.read_text().splitlines()]
        return [
            line
            for line in lines
            if line["user"]["username"].startswith("scheduler-")
            and line["verb"] in verbs
            and line["objectRef"]["resource"] == plural
            and line["responseStatus"]["code"] < 300
        ]


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[Fake]:
    async with FakeApiServer.run(tmp_path, bookmark_seconds=0.5) as server:
        async with Machines.run(server, course=lambda _: Course(start_seconds=0.02)) as machines:
            # What is freed last is used next; all of them are addresses of this machine.
            machines._kubelets._addresses = [f"127.91.3.{last}" for last in range(254, 0, -1)]
            yield Fake(server, machines)
        report = check_audit_log(server.audit, answers_for=lambda user: user.startswith("sched"))
        assert [each for each in report.violations if each.subject not in PLAYED] == []
        assert report.most_at_once <= 1


@pytest.fixture(scope="session")
def cluster() -> Iterator[RunningCluster]:
    parent = read_settings().cache_folder / "test-clusters"
    parent.mkdir(parents=True, exist_ok=True)
    numbers = count(1)
    while (lock := try_lock(parent / f"{(number := next(numbers))}.lock")) is None:
        assert number < 100
    running = RunningCluster(Cluster(parent / str(number), nodes="kwok", fresh=True))
    running.start()
    yield running
    report = check_audit_log(running.cluster.audit_log, answers_for=lambda _: False)
    running.stop()
    assert [each for each in report.violations if each.subject not in PLAYED] == []
    assert report.most_at_once == 1
    os.close(lock)


@pytest.fixture(params=["fake", "real"])
def surroundings(request: pytest.FixtureRequest) -> Fake | RunningCluster:
    found: Fake | RunningCluster = request.getfixturevalue(
        "fake" if request.param == "fake" else "cluster"
    )
    return found


@pytest.fixture
async def site(surroundings: Fake | RunningCluster) -> AsyncIterator[Site]:
    match surroundings:
        case Fake(server=server, machines=machines):
            numbers = count(1)

            async def add() -> str:
                name = f"node-{next(numbers)}"
                machines.add_node(name, pods=250, cpu="900", memory="900Gi")
                return name

            async with namespace_in(server.kubeconfig("tester")) as here:
                yield Site(server.kubeconfig, here, add)
        case running:
            kubeconfig = running.cluster.kubeconfig

            async def add() -> str:
                making = running.cluster.add_fake_nodes(
                    1, pool="default", pods=250, cpu="900", memory="900Gi"
                )
                future = asyncio.run_coroutine_threadsafe(making, running._loop)
                [name] = await asyncio.wrap_future(future)
                return name

            enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
            async with namespace_in(kubeconfig, **enforced) as here:
                yield Site(lambda _: kubeconfig, here, add, counts_quota=True)
                await _remove_nodes(here)


async def _remove_nodes(server: Any) -> None:
    for node in names((await server.ask("GET", "/api/v1/nodes"))["items"]):
        await server.ask("DELETE", f"/api/v1/nodes/{node}")


@pytest.fixture
async def place(site: Site, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    place = Place(site)
    async with place.runners.run():
        monkeypatch.setattr(observation, "PORT", place.runners.port)
        yield place
        for scheduler in place.schedulers:
            scheduler.check()
        await place.close()


@pytest.fixture
async def room(place: Place) -> Place:
    """A place with a node."""
    await place.site.add_node()
    return place


@pytest.fixture
async def weather(room: Place, tmp_path: Path) -> AsyncIterator[Weather]:
    """Between the server and all schedulers that come from now on."""
    direct = room.site.kubeconfig
    port = int(_server_of(direct("tester")).rpartition(":")[2])
    async with Weather(port=port) as weather:

        def through(name: str) -> Path:
            scheme = _server_of(direct(name)).partition(":")[0]
            content = yaml.safe_load(direct(name).read_text())
            content["clusters"][0]["cluster"]["server"] = f"{scheme}://127.0.0.1:{weather.port}"
            path = tmp_path / f"{name}.kubeconfig"
            path.write_text(yaml.safe_dump(content))
            return path

        room.site = replace(room.site, kubeconfig=through)
        yield weather


def _server_of(kubeconfig: Path) -> str:
    server: str = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    return server


@pytest.fixture
def forget(surroundings: Fake | RunningCluster) -> Callable[[], Awaitable[None]]:
    """Let the server forget all that was before now."""

    async def do() -> None:
        match surroundings:
            case Fake(server=server):
                server.store.compact()
            case running:
                real = ControlPlane(running)
                # What it still has at hand does not outlive it.
                await asyncio.to_thread(real.kill_api_server)
                await asyncio.to_thread(real.start_api_server)
                await real.forget()

    return do


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Whoever comes by there is dead."""

    def arm(name: str) -> None:
        def failpoint(here: str) -> None:
            if here == name:
                raise KilledError(name)

        for module in (pods_module, controller_module):
            monkeypatch.setattr(module, "failpoint", failpoint if name else lambda _: None)

    return arm


@pytest.fixture
def wanted() -> Callable[..., SessionWanted]:
    def make(**more: Any) -> SessionWanted:
        return SessionWanted.model_validate(
            {
                "account_id": uuid4(),
                "session_id": uuid4(),
                "kind": SessionKind.WEBUI,
                "app_name": "depots",
                "app_version": "1",
                "runtime": RUNTIME,
                "resources": {"memory_mib": 64, "cpu_millis": 50, "disk_mib": 64},
                "admitted_at": utc_now(),
            }
            | more
        )

    return make


SMALL = {"memory_mib": 64, "cpu_millis": 50, "disk_mib": 64}
POLICY = {"profile": SMALL}


def played_id(text: str = "") -> str:
    session_id = text or str(uuid4())
    PLAYED.add(session_id)
    return session_id


async def pods_are(place: Place, number: int, **selector: str) -> list[Json]:
    async def there() -> bool:
        return len(await place.site.pods(**selector)) == number

    await eventually(there, what=f"{number} pods {selector or ''}")
    return await place.site.pods(**selector)


async def all_is_gone(place: Place) -> None:
    await pods_are(place, 0)

    async def no_secrets() -> bool:
        return await place.site.secrets() == []

    await eventually(no_secrets, what="an end of all secrets")


# One pod, and one only


async def test_a_session_gets_a_secret_that_names_its_pod_and_then_the_pod(
    room: Place, wanted
) -> None:
    await room.scheduler()
    session = room.mesh.want(wanted())

    running = await room.mesh.until(session, "running")

    pod = await room.site.pod_of(session)
    [secret] = await room.site.secrets()
    assert pod["metadata"]["name"] == f"session-{session.session_id}"
    assert secret["metadata"]["annotations"][labels.UNIT] == pod["metadata"]["name"]
    [owner] = pod["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Secret", secret["metadata"]["uid"])
    assert pod["metadata"]["finalizers"] == [labels.FINALIZER]
    assert pod["metadata"]["labels"][labels.ACCOUNT] == str(session.account_id)
    assert running.unit == pod["metadata"]["uid"]
    assert running.address == f"{pod['status']['podIP']}:{room.runners.port}"
    assert int(secret["metadata"]["resourceVersion"]) < int(pod["metadata"]["resourceVersion"])


async def test_steps_on_the_way_are_told_once_each_and_before_the_answer(
    room: Place, wanted
) -> None:
    await room.scheduler()
    session = room.mesh.want(wanted())

    await room.mesh.until(session, "running")

    told = room.mesh.told(session)
    assert told[-1] == "running"
    stages = [event.stage for event in room.mesh.of(session, "progress")]
    assert len(stages) == len(set(stages))


async def test_a_session_that_is_made_many_times_at_once_has_one_pod(room: Place, wanted) -> None:
    session = wanted()
    schedulers = [await room.new() for _ in range(4)]
    for scheduler in schedulers:
        await scheduler.mirror()

    async with asyncio.TaskGroup() as group:
        for scheduler in schedulers * 3:
            group.create_task(scheduler.units.create(session))

    assert len(await room.site.pods()) == 1
    assert len(await room.site.secrets()) == 1


@pytest.mark.parametrize(
    "point", ["scheduler.before-start", "scheduler.after-secret", "scheduler.after-start"]
)
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
async def test_whoever_comes_after_one_that_was_killed_goes_on_to_exactly_one_pod(
    room: Place, wanted, kill_at, point: str, warm: bool
) -> None:
    session = wanted()
    member = await room.member(session, **POLICY) if warm else None
    kill_at(point)
    scheduler = await room.scheduler()
    room.mesh.want(session)
    await scheduler.dead()
    kill_at("")

    await room.scheduler()
    await room.mesh.until(session, "running")

    pod = await room.site.pod_of(session)
    if member is not None:
        assert pod["metadata"]["uid"] == member["metadata"]["uid"]
    assert len(await room.site.pods()) == 1


@ON_THE_FAKE
@pytest.mark.parametrize("plural", ["secrets", "pods"])
@pytest.mark.parametrize("effect", [LoseAnswer(), LoseRequest()], ids=["answer", "request"])
async def test_what_was_made_without_an_answer_is_adopted(
    room: Place, fake: Fake, wanted, plural: str, effect: Any
) -> None:
    plan = fake.server.faults.plan(effect, verb="create", plural=plural, user="scheduler-1")
    await room.scheduler()
    session = room.mesh.want(wanted())

    await room.mesh.until(session, "running")

    assert plan.met == 1
    assert len(fake.writes("create")) == 1
    assert len(fake.writes("create", plural="secrets")) == 1


@ON_THE_FAKE
async def test_a_claim_without_an_answer_is_found_to_be_done(
    room: Place, fake: Fake, wanted
) -> None:
    session = wanted()
    member = await room.member(session, **POLICY)
    fake.server.faults.plan(LoseAnswer(), verb="patch", plural="pods", user="scheduler-2")
    await room.scheduler()
    room.mesh.want(session)

    await room.mesh.until(session, "running")

    pod = await room.site.pod_of(session)
    assert pod["metadata"]["uid"] == member["metadata"]["uid"]
    assert len(await room.site.pods()) == 1


@ON_THE_FAKE
@pytest.mark.parametrize("plural", ["secrets", "pods"])
async def test_a_conflict_about_something_else_is_no_reason_to_give_up(
    room: Place, fake: Fake, wanted, plural: str
) -> None:
    """Such as that of two creates that both change the count of a quota."""
    message = 'Operation cannot be fulfilled on resourcequotas "q": the object has been modified'
    conflict = Refuse(409, "Conflict", message)
    fake.server.faults.plan(conflict, verb="create", plural=plural, times=3)
    await room.scheduler()
    session = room.mesh.want(wanted())

    await room.mesh.until(session, "running")


async def test_two_schedulers_that_both_take_a_session_for_theirs_make_one_pod_and_end_it(
    room: Place, wanted
) -> None:
    sessions = [wanted() for _ in range(8)]
    await room.member(sessions[0], **POLICY)
    for _ in range(2):
        await room.scheduler()
    for session in sessions:
        room.mesh.want(session)

    units = {session: (await room.mesh.until(session, "running")).unit for session in sessions}

    for session, unit in units.items():
        assert (await room.site.pod_of(session))["metadata"]["uid"] == unit
        assert {event.unit for event in room.mesh.of(session, "running")} == {unit}
    assert len(await room.site.pods()) == 8
    for session in sessions:
        room.mesh.stop(session)
    await all_is_gone(room)


@ON_THE_FAKE
@pytest.mark.parametrize("plural", ["secrets", "pods"])
async def test_a_session_that_is_stopped_while_it_is_being_made_does_not_stay(
    room: Place, fake: Fake, wanted, plural: str
) -> None:
    made = fake.server.faults.plan(Slow(0.7), verb="create", plural=plural, user="scheduler-1")
    await room.scheduler()
    session = room.mesh.want(wanted())
    await made.has_been_met()

    room.mesh.stop(session)
    assert room.mesh.ends(session) == []

    await room.mesh.until(session, "ended")
    await all_is_gone(room)
    assert room.mesh.told(session, "ended", "failed") == ["ended"]
    assert len(fake.writes("create")) == 1


async def test_a_pod_of_somebody_else_that_has_the_name_keeps_the_session_out(
    room: Place, wanted
) -> None:
    session = wanted()
    foreign = await room.site.make_pod(f"session-{session.session_id}")
    await room.scheduler()
    room.mesh.want(session)

    failed = await room.mesh.until(session, "failed")

    assert failed.reason is EndReason.NOT_ADMITTED
    [left] = await room.site.pods()
    assert left["metadata"]["uid"] == foreign["metadata"]["uid"]
    assert "deletionTimestamp" not in left["metadata"]


async def test_what_admission_refuses_fails_with_its_words(room: Place, wanted) -> None:
    room.changed(service_account="nobody")
    await room.scheduler()
    session = room.mesh.want(wanted())

    failed = await room.mesh.until(session, "failed")

    assert failed.reason is EndReason.NOT_ADMITTED
    assert "nobody" in failed.message
    assert room.mesh.told(session).count("failed") == 1
    assert await room.site.pods() == []


# Room


async def test_a_session_without_a_node_waits_in_one_pod_and_says_so_once(
    place: Place, wanted
) -> None:
    await place.scheduler()
    session = place.mesh.want(wanted())
    step = await place.mesh.until(session, "progress")
    assert step.stage is SessionStage.WAITING_FOR_NODE
    before = await place.site.pod_of(session)
    await asyncio.sleep(1)  # many looks

    assert place.mesh.told(session) == ["starting", "progress"]
    await place.site.add_node()
    running = await place.mesh.until(session, "running")

    assert running.unit == before["metadata"]["uid"]
    stages = [event.stage for event in place.mesh.of(session, "progress")]
    assert stages.count(SessionStage.WAITING_FOR_NODE) == 1


async def test_a_session_that_is_stopped_while_it_waits_for_a_node_is_over_at_once(
    place: Place, wanted
) -> None:
    await place.scheduler()
    session = place.mesh.want(wanted())
    await place.mesh.until(session, "progress")

    place.mesh.stop(session)

    ended = await place.mesh.until(session, "ended")
    assert ended.reason is EndReason.STOPPED
    await all_is_gone(place)
    assert len(place.mesh.ends(session)) == 1


async def test_a_session_for_which_no_node_comes_fails_with_that_reason_and_leaves_nothing(
    place: Place, wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "NODE_PATIENCE", timedelta(seconds=2))
    await place.scheduler()
    session = place.mesh.want(wanted(start_timeout_seconds=1))
    await place.mesh.until(session, "progress")

    failed = await place.mesh.until(session, "failed", seconds=10)

    assert failed.reason is EndReason.NO_ROOM
    await all_is_gone(place)
    assert len(place.mesh.ends(session)) == 1


async def test_a_full_namespace_is_told_and_the_session_runs_when_there_is_room(
    room: Place, wanted
) -> None:
    await room.site.server.create(
        "resourcequotas", {"metadata": {"name": "small"}, "spec": {"hard": {"pods": "1"}}}
    )

    async def is_counted() -> bool:
        quota = await room.site.server.get("resourcequotas", "small")
        return not room.site.counts_quota or "hard" in quota.get("status", {})

    await eventually(is_counted, what="the quota to be counted")
    await room.scheduler()
    first = room.mesh.want(wanted())
    await room.mesh.until(first, "running")
    second = room.mesh.want(wanted())
    step = await room.mesh.until(second, "progress")
    assert step.stage is SessionStage.WAITING_FOR_PLACE
    await asyncio.sleep(0.5)  # some more tries
    assert room.mesh.told(second) == ["progress"]

    room.mesh.stop(first)

    await room.mesh.until(second, "running")
    stages = [event.stage for event in room.mesh.of(second, "progress")]
    assert stages.count(SessionStage.WAITING_FOR_PLACE) == 1


# Members


async def test_a_member_that_waits_becomes_the_session_with_all_that_makes_one(
    room: Place, wanted
) -> None:
    session = wanted()
    member = await room.member(session, **POLICY)
    await room.scheduler()
    room.mesh.want(session)

    running = await room.mesh.until(session, "running")

    pod = await room.site.pod_of(session)
    metadata = pod["metadata"]
    assert running.unit == metadata["uid"] == member["metadata"]["uid"]
    assert metadata["labels"][labels.ROLE] == labels.SESSION_ROLE
    assert metadata["labels"][labels.KIND] == "webui"
    assert metadata["labels"][labels.ACCOUNT] == str(session.account_id)
    assert metadata["finalizers"] == [labels.FINALIZER]
    owners = {owner["name"] for owner in metadata["ownerReferences"]}
    assert owners == {f"session-{session.session_id}", member["metadata"]["name"]}
    annotations = metadata["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert annotations["karpenter.sh/do-not-disrupt"] == "true"
    assert pod["spec"]["activeDeadlineSeconds"] > session.max_seconds
    assert room.runners.sessions == {member["metadata"]["name"]: session.session_id}
    assert len(await room.site.pods()) == 1
    room.mesh.stop(session)
    await room.mesh.until(session, "ended")
    await all_is_gone(room)


async def test_a_member_is_only_for_sessions_of_its_account_and_figures(
    room: Place, wanted
) -> None:
    session = wanted()
    member = await room.member(session, **POLICY)
    others = [wanted(), wanted(account_id=session.account_id, resources=SMALL | {"disk_mib": 65})]
    others.append(wanted(account_id=session.account_id, runtime="1.0.0.2-linux64-x64"))
    await room.scheduler()
    for other in others:
        room.mesh.want(other)
        await room.mesh.until(other, "running")

    [left] = await room.site.pods(role=labels.MEMBER_ROLE)
    assert left["metadata"]["uid"] == member["metadata"]["uid"]


async def test_of_two_schedulers_that_want_the_last_member_one_gets_it_and_the_other_makes_a_pod(
    room: Place, wanted
) -> None:
    one = wanted()
    other = wanted(account_id=one.account_id)
    member = await room.member(one, **POLICY)
    mine = {"scheduler-2": one.session_id, "scheduler-3": other.session_id}
    room.mesh.owned = lambda name, session_id: mine.get(name) == session_id
    room.mesh.rows = {one.session_id: one, other.session_id: other}
    first, second = await room.new(), await room.new()
    for scheduler in (first, second):
        await scheduler.mirror()

    async with asyncio.TaskGroup() as group:
        group.create_task(first.units.create(one))
        group.create_task(second.units.create(other))
    for scheduler in (first, second):
        await scheduler.die()
    await room.scheduler()
    room.mesh.owned = lambda _, __: True

    for session in (one, other):
        await room.mesh.until(session, "running")
    uids = {(await room.site.pod_of(session))["metadata"]["uid"] for session in (one, other)}
    assert len(uids) == 2
    assert member["metadata"]["uid"] in uids
    assert len(await room.site.pods()) == 2


@pytest.mark.parametrize("how", ["gone", "ending", "another session's"])
async def test_a_session_whose_member_is_not_to_be_had_gets_a_pod_of_its_own(
    room: Place, wanted, kill_at, how: str
) -> None:
    session = wanted()
    member = await room.member(session, **POLICY)
    kill_at("scheduler.after-secret")
    scheduler = await room.scheduler()
    room.mesh.want(session)
    await scheduler.dead()
    kill_at("")
    [secret] = [found for found in await room.site.secrets() if "session-" in str(names([found]))]
    assert secret["metadata"]["annotations"][labels.UNIT].startswith(member["metadata"]["name"])
    match how:
        case "gone":
            await room.site.delete_pod(member, gracePeriodSeconds=0)
        case "ending":
            keep = {"metadata": {"finalizers": ["example.org/keep"]}}
            await room.site.server.merge("pods", member["metadata"]["name"], keep)
            await room.site.delete_pod(member)
        case _:
            stolen = {labels.ROLE: labels.SESSION_ROLE, labels.SESSION: played_id()}
            labelled = {"metadata": {"labels": stolen}}
            await room.site.server.merge("pods", member["metadata"]["name"], labelled)
            room.mesh.owned = lambda _, session_id: session_id == session.session_id

    await room.scheduler()
    running = await room.mesh.until(session, "running")

    pod = await room.site.pod_of(session)
    assert pod["metadata"]["name"] == f"session-{session.session_id}"
    assert running.unit == pod["metadata"]["uid"] != member["metadata"]["uid"]


@ON_THE_FAKE
async def test_a_member_that_is_ending_unseen_is_not_the_end_of_the_session(
    room: Place, fake: Fake, wanted
) -> None:
    session = wanted()
    member = await room.member(session, **POLICY)
    scheduler = await room.scheduler()
    with fake.server.faults.stalled("pods"):
        await room.site.delete_pod(member)
        room.mesh.want(session)

        async def has_own_pod() -> bool:
            return len(await room.site.pods(session=str(session.session_id))) == 1

        await eventually(has_own_pod, what="a pod of its own")
    await room.mesh.until(session, "running")
    assert len(scheduler.units.ids()) == 1


@ON_THE_FAKE
async def test_a_member_that_was_taken_in_vain_can_be_taken_again(
    room: Place, fake: Fake, wanted
) -> None:
    """The session's secret names its own pod since an earlier try: the member is not needed."""
    session = wanted()
    await room.member(session, **POLICY)
    scheduler = await room.new()
    await scheduler.mirror()
    secret = {
        "metadata": {
            "name": f"session-{session.session_id}",
            "annotations": {labels.UNIT: f"session-{session.session_id}"},
            "labels": {labels.ROLE: labels.SESSION_ROLE},
        }
    }
    await room.site.server.create("secrets", secret)

    await scheduler.units.create(session)
    other = wanted(account_id=session.account_id)
    await scheduler.units.create(other)

    assert (await room.site.pod_of(session))["metadata"]["name"].startswith("session-")
    assert (await room.site.pod_of(other))["metadata"]["name"].startswith("member-")


@ON_THE_FAKE
async def test_a_member_that_another_one_was_named_before_stays_free(
    room: Place, fake: Fake, wanted
) -> None:
    session = wanted()
    first = await room.member(session, **POLICY)
    scheduler = await room.new()
    await scheduler.mirror()
    unit = f"{first['metadata']['name']}/{first['metadata']['uid']}"
    secret = {
        "metadata": {
            "name": f"session-{session.session_id}",
            "annotations": {labels.UNIT: unit},
            "labels": {labels.ROLE: labels.SESSION_ROLE},
        }
    }
    await room.site.server.create("secrets", secret)
    await room.member(session, **POLICY | {"least": 2, "most": 2})
    other = await scheduler_sees_another_member(scheduler, room, first)

    await scheduler.units.create(session)
    await scheduler.units.create(wanted_by(session))

    claimed = await room.site.pods(role=labels.SESSION_ROLE)
    assert set(names(claimed)) == {first["metadata"]["name"], other}


async def scheduler_sees_another_member(scheduler: Scheduler, room: Place, but: Json) -> str:
    """Let the one that is named before be out of its sight, so that it takes another one."""
    await room.ready_members(2)
    free = scheduler.units._members._free

    async def sees_two() -> bool:
        return sum(map(len, free.values())) == 2

    await eventually(sees_two, what="two members in sight")
    for waiting in free.values():
        waiting.pop(but["metadata"]["uid"])
    [other] = [member.name for waiting in free.values() for member in waiting.values()]
    return other


def wanted_by(session: SessionWanted) -> SessionWanted:
    return session.model_copy(update={"session_id": uuid4()})


# Ends


async def test_a_session_that_is_stopped_ends_is_told_once_and_leaves_nothing(
    room: Place, wanted
) -> None:
    await room.scheduler()
    session = room.mesh.want(wanted())
    await room.mesh.until(session, "running")

    room.mesh.stop(session)
    await room.mesh.until(session, "ended")
    await all_is_gone(room)
    await asyncio.sleep(0.3)  # some more looks

    assert room.mesh.told(session, "ended", "failed") == ["ended"]


async def test_the_reason_of_a_stop_survives_whoever_gave_it(room: Place, wanted, kill_at) -> None:
    scheduler = await room.scheduler()
    session = room.mesh.want(wanted())
    await room.mesh.until(session, "running")
    kill_at("scheduler.before-over")
    room.mesh.want(session.model_copy(update={"max_seconds": 1}))
    await scheduler.dead()
    kill_at("")

    await room.scheduler()
    ended = await room.mesh.until(session, "ended")

    assert ended.reason is EndReason.TIME_LIMIT
    assert "1 second" in ended.message
    await all_is_gone(room)


async def test_a_pod_that_somebody_else_deletes_is_told_once_and_not_made_again(
    room: Place, wanted
) -> None:
    await room.scheduler()
    session = room.mesh.want(wanted())
    await room.mesh.until(session, "running")
    pod = await room.site.pod_of(session)

    await room.site.delete_pod(pod)
    over = (await _until_over(room, session))[0]
    await all_is_gone(room)

    assert over.reason is EndReason.STOPPED
    assert len(room.mesh.ends(session)) == 1


async def _until_over(place: Place, session: SessionWanted, *, seconds: float = 20) -> list[Any]:
    async def over() -> list[Any]:
        return place.mesh.ends(session)

    return await eventually(over, seconds=seconds, what="its end")


async def test_a_drained_session_is_told_to_have_lost_its_place(room: Place, wanted) -> None:
    await room.scheduler()
    session = room.mesh.want(wanted())
    await room.mesh.until(session, "running")
    pod = await room.site.pod_of(session)
    name = pod["metadata"]["name"]
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": room.site.namespace},
    }

    await room.site.server.ask("POST", room.site.server.path("pods", name, "eviction"), eviction)

    failed = await room.mesh.until(session, "failed")
    assert failed.reason is EndReason.EVICTED
    await all_is_gone(room)
    assert len(room.mesh.ends(session)) == 1


async def test_a_pod_is_kept_until_its_end_was_told(room: Place, wanted) -> None:
    await room.scheduler()
    session = room.mesh.want(wanted())
    await room.mesh.until(session, "running")
    room.mesh.away = True
    room.mesh.stop(session)

    async def has_ended() -> bool:
        pods = await room.site.pods()
        return bool(pods) and pods[0]["status"]["phase"] in {"Succeeded", "Failed"}

    await eventually(has_ended, what="an end of its containers")
    await asyncio.sleep(0.5)  # some more looks
    [pod] = await room.site.pods()
    assert pod["metadata"]["finalizers"] == [labels.FINALIZER]
    room.mesh.away = False

    await room.mesh.until(session, "ended")
    await all_is_gone(room)
    assert len(room.mesh.ends(session)) == 1


async def test_what_is_over_for_accounts_only_later_is_kept_and_told_once(
    room: Place, wanted
) -> None:
    room.mesh.keeps_what_is_over = True
    await room.scheduler()
    session = room.mesh.want(wanted())
    await room.mesh.until(session, "running")
    await room.site.delete_pod(await room.site.pod_of(session))
    await _until_over(room, session)
    await asyncio.sleep(0.5)  # some more looks

    assert len(await room.site.pods()) == 1
    room.mesh.stop(session)
    await all_is_gone(room)
    assert len(room.mesh.ends(session)) == 1


async def test_somebody_elses_finalizer_stays_and_is_waited_for_no_longer_than_its_containers(
    room: Place, wanted
) -> None:
    await room.scheduler()
    session = room.mesh.want(wanted())
    await room.mesh.until(session, "running")
    name = (await room.site.pod_of(session))["metadata"]["name"]
    keep = {"metadata": {"finalizers": [labels.FINALIZER, "example.org/keep"]}}
    await room.site.server.merge("pods", name, keep)

    room.mesh.stop(session)
    await room.mesh.until(session, "ended")

    async def only_theirs() -> bool:
        [pod] = await room.site.pods()
        return bool(pod["metadata"].get("finalizers") == ["example.org/keep"])

    await eventually(only_theirs, what="only their finalizer")
    version = versions(await room.site.pods())
    await asyncio.sleep(0.5)  # some more looks
    assert versions(await room.site.pods()) == version
    assert len(room.mesh.ends(session)) == 1


@ON_THE_FAKE
async def test_a_pod_whose_containers_do_not_end_is_stopping_and_counts(
    room: Place, fake: Fake, wanted
) -> None:
    await room.scheduler()
    session = room.mesh.want(wanted())
    await room.mesh.until(session, "running")
    for machine in fake.machines._kubelets.machines.values():
        machine.answers.clear()  # it says nothing of its pods, and is ready all the same

    room.mesh.stop(session)
    await asyncio.sleep(2.5)  # longer than its grace

    assert room.mesh.ends(session) == []
    assert "deletionTimestamp" in (await room.site.pod_of(session))["metadata"]


@ON_THE_FAKE
async def test_a_pod_that_does_not_end_is_given_up_where_the_operator_says_so(
    place: Place, fake: Fake, wanted
) -> None:
    place.give_up_after = timedelta(seconds=2)
    await place.site.add_node()
    await place.scheduler()
    session = place.mesh.want(wanted())
    await place.mesh.until(session, "running")
    for machine in fake.machines._kubelets.machines.values():
        machine.answers.clear()

    place.mesh.stop(session)

    over = await _until_over(place, session)
    assert over[0].reason is EndReason.LOST
    await all_is_gone(place)
    assert len(place.mesh.ends(session)) == 1


@ON_THE_FAKE
async def test_what_does_not_end_in_its_grace_is_killed(place: Place, fake: Fake, wanted) -> None:
    fake.goes(Course(start_seconds=0.02, obeys=False))
    place.changed(stop_grace=timedelta(seconds=600))
    place.stop_grace = timedelta(seconds=1)
    await place.site.add_node()
    await place.scheduler()
    session = place.mesh.want(wanted())
    await place.mesh.until(session, "running")

    place.mesh.stop(session)

    ended = await place.mesh.until(session, "ended")
    assert ended.reason is EndReason.STOPPED
    await all_is_gone(place)


@ON_THE_FAKE
@pytest.mark.parametrize(
    ("course", "reason"),
    [
        (Course(ends_after=0.05, exit_code=137, reason="OOMKilled"), EndReason.OUT_OF_MEMORY),
        (Course(ends_after=0.05, exit_code=3), EndReason.APP_FAILED),
        (Course(ends_after=0.05, exit_code=1, message="[" * 4096), EndReason.APP_FAILED),
        (
            Course(ends_after=0.05, message='{"reason": "idle", "message": "\\ud800\\u0000"}'),
            EndReason.IDLE,
        ),
        (
            Course(
                ends_after=0.05,
                exit_code=1,
                message='{"reason": "app-failed", "cpuSeconds": 1' + "0" * 400 + "}",
            ),
            EndReason.APP_FAILED,
        ),
    ],
    ids=["memory", "crash", "brackets", "letters", "figures"],
)
async def test_what_ends_by_itself_is_told_with_its_reason_whatever_it_leaves_behind(
    room: Place, fake: Fake, wanted, course: Course, reason: EndReason
) -> None:
    fake.goes(course)
    await room.scheduler()
    session = room.mesh.want(wanted())

    over = await _until_over(room, session)

    assert over[0].reason is reason
    over[0].model_dump_json()
    await all_is_gone(room)
    assert len(room.mesh.ends(session)) == 1
    fake.goes(Course())
    other = room.mesh.want(wanted())
    await room.mesh.until(other, "running")


@ON_THE_FAKE
async def test_an_image_that_cannot_be_had_fails_the_session_in_seconds(
    room: Place, fake: Fake, wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observation, "IMAGE_PATIENCE", timedelta(seconds=2))
    fake.goes(Course(trouble="ImagePullBackOff"))
    await room.scheduler()
    session = room.mesh.want(wanted())

    failed = await room.mesh.until(session, "failed", seconds=10)

    assert failed.reason is EndReason.IMAGE_UNAVAILABLE
    assert "ImagePullBackOff" in failed.message
    await all_is_gone(room)
    stages = [event.stage for event in room.mesh.of(session, "progress")]
    assert stages.count(SessionStage.PULLING_IMAGE) == 1


# Nodes


@ON_THE_FAKE
async def test_sessions_on_a_lost_node_fail_soon_and_what_returns_of_them_is_ended(
    place: Place, fake: Fake, wanted
) -> None:
    lost = await place.site.add_node()
    await place.scheduler()
    sessions = [place.mesh.want(wanted()) for _ in range(30)]
    for session in sessions:
        await place.mesh.until(session, "running")
    await place.site.add_node()
    elsewhere = place.mesh.want(wanted())
    await place.mesh.until(elsewhere, "running")
    on_other = (await place.site.pod_of(elsewhere))["spec"]["nodeName"] != lost

    fake.machines.lose_node(lost)
    for session in sessions:
        failed = await place.mesh.until(session, "failed", seconds=15)
        assert failed.reason is EndReason.NODE_LOST
        assert len(place.mesh.ends(session)) == 1
    fake.machines.return_node(lost)

    async def only_elsewhere() -> bool:
        return fake.lives() <= 1

    await eventually(only_elsewhere, what="an end of what returned")
    assert place.mesh.ends(elsewhere) == [] or not on_other


@ON_THE_FAKE
async def test_a_node_that_comes_back_in_time_keeps_its_sessions(
    place: Place, fake: Fake, wanted
) -> None:
    place.changed(node_lost_after=timedelta(seconds=600))
    node = await place.site.add_node()
    await place.scheduler()
    session = place.mesh.want(wanted())
    await place.mesh.until(session, "running")

    fake.machines.lose_node(node)
    await asyncio.sleep(1)  # many looks
    fake.machines.return_node(node)
    await asyncio.sleep(0.3)  # some more

    assert place.mesh.ends(session) == []
    assert place.mesh.told(session, "running") == ["running"]


@ON_THE_FAKE
async def test_a_node_that_was_removed_takes_its_sessions_with_it_and_that_is_told(
    place: Place, fake: Fake, wanted
) -> None:
    node = await place.site.add_node()
    await place.scheduler()
    session = place.mesh.want(wanted())
    await place.mesh.until(session, "running")

    fake.machines.remove_node(node)

    failed = await place.mesh.until(session, "failed")
    assert failed.reason is EndReason.NODE_LOST
    await all_is_gone(place)


# What is not ours, and what is no more


async def test_a_pod_that_nobody_wants_is_removed_and_no_other(room: Place, wanted) -> None:
    orphan, kept = wanted(), wanted()
    before = await room.new()
    await before.mirror()
    await before.units.create(orphan)
    await before.units.create(kept)
    await before.die()
    foreign = await room.site.make_pod("somebody-elses", labels={"app": "x"})
    room.mesh.rows[kept.session_id] = kept

    await room.scheduler()
    await pods_are(room, 0, session=str(orphan.session_id))
    await room.mesh.until(kept, "running")

    assert room.mesh.told(orphan, "ended", "failed") == ["ended"]
    assert foreign["metadata"]["name"] in names(await room.site.pods())
    assert len(await room.site.pods()) == 2


async def test_sessions_of_another_scheduler_are_never_touched(room: Place, wanted) -> None:
    mine, other = wanted(), wanted()
    before = await room.new()
    await before.mirror()
    await before.units.create(other)
    await before.die()
    ready = (await eventually_ready(room, other))["metadata"]
    room.mesh.owned = lambda _, session_id: session_id == mine.session_id

    await room.scheduler()
    room.mesh.want(mine)
    await room.mesh.until(mine, "running")
    await asyncio.sleep(0.3)  # some more looks

    left = (await room.site.pod_of(other))["metadata"]
    assert (left["uid"], left["resourceVersion"]) == (ready["uid"], ready["resourceVersion"])
    assert room.mesh.of(other) == []


async def eventually_ready(place: Place, session: SessionWanted) -> Json:
    async def ready() -> Json | None:
        pod = await place.site.pod_of(session)
        return pod if is_ready(pod) else None

    return await eventually(ready, what="a pod that is ready")


async def test_pods_with_labels_that_make_no_sense_harm_nobody(room: Place, wanted) -> None:
    for number, odd in enumerate(
        [
            {labels.ROLE: labels.SESSION_ROLE, labels.SESSION: played_id("nonsense")},
            {labels.ROLE: labels.SESSION_ROLE, labels.SESSION: played_id()},
            {labels.ROLE: labels.SESSION_ROLE, labels.SESSION: played_id(), labels.ACCOUNT: "x"},
            {labels.ROLE: labels.MEMBER_ROLE},
            {labels.ROLE: "something-else"},
        ]
    ):
        await room.site.make_pod(f"odd-{number}", labels=odd)
    scheduler = await room.scheduler()
    session = room.mesh.want(wanted())

    await room.mesh.until(session, "running")

    scheduler.check()
    assert sum(name.startswith("odd-") for name in names(await room.site.pods())) == 5


# Restarts


async def test_a_scheduler_that_starts_anew_among_fifty_sessions_changes_nothing(
    room: Place, wanted
) -> None:
    members = [wanted(admitted_at=utc_now()) for _ in range(2)]
    for session in members:
        await room.member(session, **POLICY)
    first = await room.scheduler()
    sessions = [room.mesh.want(session) for session in members]
    sessions += [room.mesh.want(wanted()) for _ in range(48)]
    for session in sessions:
        await room.mesh.until(session, "running", seconds=60)
    assert len(await room.site.pods(role=labels.SESSION_ROLE)) == 50
    await first.die()
    await asyncio.sleep(1.1)  # what is told in whole seconds has settled
    before = versions(await room.site.pods()), versions(await room.site.secrets())
    # All of them run for longer now than they had time to start.
    for session in sessions:
        late = utc_now() - timedelta(seconds=session.start_timeout_seconds + 60)
        room.mesh.rows[session.session_id] = session.model_copy(update={"admitted_at": late})
    room.mesh.events.clear()

    await room.scheduler()
    for session in sessions:
        await room.mesh.until(session, "running", seconds=60)
    await asyncio.sleep(0.5)  # some more looks

    assert (versions(await room.site.pods()), versions(await room.site.secrets())) == before
    for session in sessions:
        assert room.mesh.told(session) == ["running"]


async def test_a_member_that_became_a_session_long_ago_is_not_late_for_the_next_scheduler(
    room: Place, wanted
) -> None:
    """It has to say again that it answers; what it had to start in is over long since."""
    session = wanted(start_timeout_seconds=3)
    await room.member(session, **POLICY)
    first = await room.scheduler()
    room.mesh.want(session)
    await room.mesh.until(session, "running")
    await first.die()
    await asyncio.sleep(4)  # longer than it had to start
    room.mesh.events.clear()

    await room.scheduler()
    await room.mesh.until(session, "running")
    await asyncio.sleep(0.3)  # some more looks

    assert room.mesh.told(session) == ["running"]


async def test_a_member_that_heard_of_its_session_is_found_again_by_the_next_scheduler(
    room: Place, wanted
) -> None:
    session = wanted()
    member = await room.member(session, **POLICY)
    room.runners.answers.clear()  # the app takes its time
    first = await room.scheduler()
    room.mesh.want(session)

    async def has_heard() -> bool:
        return bool(room.runners.calls)

    await eventually(has_heard, what="a session that was told")
    await first.die()
    await room.scheduler()
    room.runners.answers.set()

    running = await room.mesh.until(session, "running")
    assert running.unit == member["metadata"]["uid"]
    assert set(room.runners.calls) == {str(session.session_id)}


async def test_a_member_that_does_not_take_the_session_ends_it(room: Place, wanted) -> None:
    session = wanted()
    member = await room.member(session, **POLICY)
    room.runners.sessions[member["metadata"]["name"]] = uuid4()
    await room.scheduler()
    room.mesh.want(session)

    failed = await room.mesh.until(session, "failed")

    assert failed.reason is EndReason.LOST
    await all_is_gone(room)


# A mirror that is behind


@ON_THE_FAKE
async def test_what_was_made_and_is_not_seen_yet_is_neither_made_again_nor_forgotten(
    room: Place, fake: Fake, wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods_module, "EXPECTED_SECONDS", 0.2)
    await room.scheduler()
    with fake.server.faults.stalled("pods"):
        session = room.mesh.want(wanted())
        await room.mesh.until(session, "starting")
        await asyncio.sleep(0.7)  # longer than it is expected
        assert len(fake.writes("create")) == 1

        room.mesh.stop(session)

        async def is_ending() -> bool:
            return all("deletionTimestamp" in pod["metadata"] for pod in await room.site.pods())

        await eventually(is_ending, what="a pod that is told to end, though it is not seen")
        assert room.mesh.ends(session) == []
    await room.mesh.until(session, "ended")
    await all_is_gone(room)
    assert len(room.mesh.ends(session)) == 1


@pytest.mark.parametrize("how", ["forgotten", "silent"])
async def test_twenty_that_died_while_nothing_was_heard_are_told_once_each(
    room: Place, weather: Weather, forget, wanted, how: str
) -> None:
    """Half of them are still there to say why they ended, half are gone without a word."""
    scheduler = await room.new()
    if how == "silent":
        scheduler.units.pods._silence = 3
    await scheduler.begin()
    sessions = [room.mesh.want(wanted()) for _ in range(23)]
    for session in sessions:
        await room.mesh.until(session, "running")
    dying, vanishing, living = sessions[:10], sessions[10:20], sessions[20:]
    with silent(weather):
        for session in dying:
            await die(room, session)
        for session in vanishing:
            await vanish(room, session)
        assert not any(map(room.mesh.ends, sessions))
        if how == "forgotten":
            await forget()
            weather.cut()
        else:
            await gives_up(scheduler)
        lists = listed_pods()

    for session in dying:
        failed = await room.mesh.until(session, "failed", seconds=30)
        assert failed.reason is EndReason.APP_FAILED
    for session in vanishing:
        failed = await room.mesh.until(session, "failed", seconds=30)
        assert failed.reason is EndReason.LOST
    assert listed_pods() > lists
    await pods_are(room, len(living))
    assert not any(map(room.mesh.ends, living))
    for session in living:
        room.mesh.stop(session)
    await pods_are(room, 0)
    await asyncio.sleep(0.3)  # some more looks
    ends = ["failed"] * 20 + ["ended"] * 3
    assert [room.mesh.told(session, "ended", "failed") for session in sessions] == [
        [end] for end in ends
    ]


@contextmanager
def silent(weather: Weather) -> Iterator[None]:
    """Requests arrive, and nothing comes back."""
    weather._answers.clear()
    try:
        yield
    finally:
        weather._answers.set()


async def die(place: Place, session: SessionWanted) -> None:
    """As its node would say it."""
    pod = await place.site.pod_of(session)
    state = {"terminated": {"exitCode": 1, "reason": "Error"}}
    statuses = [each | {"state": state} for each in pod["status"]["containerStatuses"]]
    status = {"status": {"phase": "Failed", "containerStatuses": statuses}}
    await place.site.server.merge("pods", f"{pod['metadata']['name']}/status", status)


async def vanish(place: Place, session: SessionWanted) -> None:
    """By somebody who does not care for what it still has to say."""
    pod = await place.site.pod_of(session)
    name = pod["metadata"]["name"]
    await place.site.server.merge("pods", name, {"metadata": {"finalizers": None}})
    await place.site.delete_pod(pod, gracePeriodSeconds=0)


async def gives_up(scheduler: Scheduler) -> None:
    async def lists_anew() -> bool:
        return not scheduler.units.pods._version

    await eventually(lists_anew, what="a watch that is given up")


def listed_pods() -> float:
    """How often mirrors were filled anew."""
    return metrics.kubernetes_relists.labels("pods")._value.get()


@ON_THE_FAKE
async def test_a_session_that_answered_unseen_is_not_ended_for_being_late(
    place: Place, fake: Fake, wanted
) -> None:
    fake.goes(Course(start_seconds=0.5))
    await place.site.add_node()
    await place.scheduler()
    session = place.mesh.want(wanted(start_timeout_seconds=1))

    async def is_started() -> bool:
        return bool(await place.site.pods())

    await place.mesh.until(session, "progress")
    with fake.server.faults.stalled("pods"):
        await eventually_ready(place, session)
        await asyncio.sleep(2)  # much longer than it may take to start
        assert "deletionTimestamp" not in (await place.site.pod_of(session))["metadata"]
    await place.mesh.until(session, "running")
    assert place.mesh.ends(session) == []


@ON_THE_FAKE
async def test_a_node_that_came_back_unseen_keeps_its_sessions(
    place: Place, fake: Fake, wanted
) -> None:
    place.changed(node_lost_after=timedelta(seconds=2))
    node = await place.site.add_node()
    scheduler = await place.scheduler()
    session = place.mesh.want(wanted())
    await place.mesh.until(session, "running")
    fake.machines.lose_node(node)

    async def is_seen() -> bool:
        return not scheduler.units.nodes.objects[node].status.ready

    await eventually(is_seen, what="a node that is seen to be silent")
    with fake.server.faults.stalled("nodes"):
        fake.machines.return_node(node)
        await asyncio.sleep(3)  # longer than a silent node is waited for
        assert "deletionTimestamp" not in (await place.site.pod_of(session))["metadata"]
    await asyncio.sleep(0.3)  # some more looks

    assert place.mesh.ends(session) == []


@ON_THE_FAKE
async def test_a_server_that_is_away_ends_nothing_and_is_taken_up_again(
    room: Place, fake: Fake, wanted
) -> None:
    await room.scheduler()
    sessions = [room.mesh.want(wanted()) for _ in range(3)]
    for session in sessions:
        await room.mesh.until(session, "running")

    await fake.server.go_away()
    room.mesh.stop(sessions[0])
    late = room.mesh.want(wanted())
    await asyncio.sleep(1)  # many looks
    assert [room.mesh.ends(session) for session in sessions] == [[], [], []]
    await fake.server.come_back()

    await room.mesh.until(sessions[0], "ended")
    await room.mesh.until(late, "running")
    assert room.mesh.ends(sessions[1]) == room.mesh.ends(sessions[2]) == []


# Warm pools


async def steps(scheduler: Scheduler, number: int = 1) -> None:
    for _ in range(number):
        await scheduler.pools.step()


def keep(place: Place, account: UUID, **policy: Any) -> None:
    place.runtimes = [(account, RUNTIME)]
    place.policies = (WarmPolicy.model_validate(POLICY | policy),)


async def pool_is(place: Place, scheduler: Scheduler, size: int) -> list[Json]:
    """Step until so many wait."""

    async def ready() -> list[Json]:
        await scheduler.pools.step()
        found = await place.site.pods(role=labels.MEMBER_ROLE)
        alive = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        return alive if len(alive) == size and all(map(is_ready, alive)) else []

    if size == 0:
        await pods_are(place, 0, role=labels.MEMBER_ROLE)
        return []
    return await eventually(ready, what=f"a pool of {size}")


async def test_a_pool_reaches_its_size_and_stays_there(room: Place) -> None:
    keep(room, uuid4(), least=25, most=30)
    scheduler = await room.new()
    await scheduler.mirror()

    before = await pool_is(room, scheduler, 25)
    await steps(scheduler, 3)

    assert set(names(await room.site.pods())) == set(names(before))
    assert len(await room.site.secrets()) == 25


@ON_THE_FAKE
@pytest.mark.parametrize("how", ["late", "silent"])
async def test_a_mirror_that_is_late_or_silent_never_makes_a_pool_too_large(
    room: Place, fake: Fake, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    keep(room, uuid4(), least=12, most=12)
    if how == "late":
        fake.server.faults.event_delay = 0.3
        scheduler = await room.new()
        await scheduler.mirror()
        await pool_is(room, scheduler, 12)
    else:
        scheduler = await room.new()
        await scheduler.mirror()
        with fake.server.faults.stalled("pods"):
            await steps(scheduler, 20)

    assert len(fake.writes("create")) == 12


@ON_THE_FAKE
async def test_a_new_leader_counts_what_the_one_before_it_made(room: Place, fake: Fake) -> None:
    keep(room, uuid4(), least=8, most=8)
    new = await room.new()
    await new.mirror()
    with fake.server.faults.stalled("pods"):
        old = await room.new()
        old_mirror = asyncio.create_task(old.units.pods.run())
        await old.units.pods.synced.wait()
        await steps(old, 3)
        await steps(new, 3)
        old_mirror.cancel()

    assert len(fake.writes("create")) == 8


@ON_THE_FAKE
async def test_members_that_were_made_without_an_answer_count(room: Place, fake: Fake) -> None:
    keep(room, uuid4(), least=6, most=6)
    fake.server.faults.plan(LoseAnswer(), verb="create", plural="pods", times=4)
    scheduler = await room.new()
    await scheduler.mirror()

    await pool_is(room, scheduler, 6)

    assert len(fake.writes("create")) == 6


@ON_THE_FAKE
async def test_members_of_which_nobody_knows_count_until_they_cannot_come_any_more(
    room: Place, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools_module, "IN_DOUBT_SECONDS", 1.0)
    keep(room, uuid4(), least=6, most=6)
    fake.server.faults.plan(LoseRequest(), verb="create", plural="pods", times=2)
    scheduler = await room.new()
    await scheduler.mirror()

    await steps(scheduler, 5)
    assert len(fake.writes("create")) == 4

    await pool_is(room, scheduler, 6)
    assert len(fake.writes("create")) == 6


async def test_what_is_too_much_is_removed(room: Place) -> None:
    account = uuid4()
    keep(room, account, least=5, most=5)
    first = await room.new()
    await first.mirror()
    await pool_is(room, first, 5)
    await first.die()
    keep(room, account, least=2, most=2)
    scheduler = await room.new()
    await scheduler.mirror()

    await pool_is(room, scheduler, 2)

    async def two_secrets() -> bool:
        return len(await room.site.secrets()) == 2

    await eventually(two_secrets, what="an end of their secrets")


async def test_a_pool_that_nobody_wants_any_more_is_removed_whole(room: Place) -> None:
    keep(room, uuid4(), least=3, most=3)
    scheduler = await room.new()
    await scheduler.mirror()
    await pool_is(room, scheduler, 3)

    room.runtimes = []
    await steps(scheduler, 2)

    await all_is_gone(room)


async def test_while_it_is_not_known_what_is_published_no_pool_is_touched(room: Place) -> None:
    keep(room, uuid4(), least=3, most=3)
    scheduler = await room.new()
    await scheduler.mirror()
    before = await pool_is(room, scheduler, 3)

    room.runtimes = None
    await steps(scheduler, 3)

    assert versions(await room.site.pods()) == versions(before)


async def test_members_of_an_older_template_serve_until_there_are_new_ones(room: Place) -> None:
    keep(room, uuid4(), least=3, most=3)
    first = await room.new()
    await first.mirror()
    old = set(names(await pool_is(room, first, 3)))
    await first.die()
    room.changed(image="slipway-runner:2")
    scheduler = await room.new()
    await scheduler.mirror()
    least = 3

    async def renewed() -> bool:
        nonlocal least
        await scheduler.pools.step()
        found = await room.site.pods(role=labels.MEMBER_ROLE)
        alive = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        least = min(least, sum(map(is_ready, alive)))
        return len(alive) == 3 and not old & set(names(alive))

    await eventually(renewed, what="a pool of new members")
    assert least == 3


@ON_THE_FAKE
async def test_a_template_that_does_not_work_is_held_and_taken_up_again_when_it_does(
    room: Place, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Brake, "FIRST", timedelta(seconds=1))
    keep(room, uuid4(), least=4, most=4)
    fake.goes(Course(start_seconds=0.01, ends_after=0.01, exit_code=1))
    scheduler = await room.new()
    await scheduler.mirror()

    async def is_held() -> bool:
        await scheduler.pools.step()
        return len(fake.writes("create")) >= 4 and await room.site.pods() == []

    await eventually(is_held, what="members that failed")
    for _ in range(20):
        await scheduler.pools.step()
    assert len(fake.writes("create")) == 4
    made_on_trial = len(fake.writes("create"))

    async def tried_one() -> bool:
        await scheduler.pools.step()
        return len(fake.writes("create")) > made_on_trial

    await eventually(tried_one, what="one more try")
    assert len(fake.writes("create")) == made_on_trial + 1
    fake.goes(Course(start_seconds=0.01))

    await pool_is(room, scheduler, 4)


@ON_THE_FAKE
async def test_a_place_that_takes_no_member_leaves_no_secret_behind(
    room: Place, fake: Fake
) -> None:
    keep(room, uuid4(), least=2, most=2)
    await room.site.server.create(
        "resourcequotas", {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    )
    scheduler = await room.new()
    await scheduler.mirror()

    await steps(scheduler, 3)

    assert await room.site.secrets() == []
    assert await room.site.pods() == []


@ON_THE_FAKE
async def test_one_pool_that_cannot_be_kept_holds_up_no_other(room: Place, fake: Fake) -> None:
    accounts = [uuid4(), uuid4(), uuid4()]
    keep(room, accounts[0], least=1, most=1)
    room.runtimes = [(account, RUNTIME) for account in accounts]
    fake.server.faults.plan(Refuse(500), verb="list", plural="pods", user="scheduler-1", times=2)
    scheduler = await room.new()
    plan_is_met = scheduler.mirror()
    await plan_is_met
    fake.server.faults.plan(Refuse(500), verb="list", plural="pods", user="scheduler-1")

    with pytest.raises(ApiError):
        await scheduler.pools.step()

    assert len(fake.writes("create")) == 2


async def test_a_member_that_is_claimed_meanwhile_is_never_removed(room: Place, wanted) -> None:
    session = wanted()
    member = await room.member(session, **POLICY)
    stale = await room.new()
    await stale.mirror()
    claimer = await room.scheduler()
    room.mesh.want(session)
    await room.mesh.until(session, "running")
    await claimer.die()

    seen_before = {name: _as_a_member(pod) for name, pod in stale.units.pods.objects.items()}
    await stale.pools._writes.remove(seen_before.values())

    pod = await room.site.pod_of(session)
    assert pod["metadata"]["uid"] == member["metadata"]["uid"]
    assert "deletionTimestamp" not in pod["metadata"]
    assert pod["metadata"]["labels"][labels.ROLE] == labels.SESSION_ROLE


def _as_a_member(pod: Any) -> Any:
    """As a mirror that is behind still shows it."""
    metadata = msgspec.structs.replace(
        pod.metadata, labels=pod.metadata.labels | {labels.ROLE: labels.MEMBER_ROLE}
    )
    return msgspec.structs.replace(pod, metadata=metadata)


@ON_THE_FAKE
async def test_of_a_claim_and_a_removal_at_once_only_one_comes_about(
    room: Place, fake: Fake, wanted
) -> None:
    for _ in range(4):
        session = wanted()
        member = await room.member(session, **POLICY)
        claimer, remover = await room.new(), await room.new()
        for scheduler in (claimer, remover):
            await scheduler.mirror()
        pods = [
            pod
            for pod in remover.units.pods.objects.values()
            if pod.metadata.uid == member["metadata"]["uid"]
        ]

        await asyncio.gather(claimer.units.create(session), remover.pools._writes.remove(pods))

        pod = await room.site.pod_of(session)
        assert "deletionTimestamp" not in pod["metadata"]
        for scheduler in (claimer, remover):
            await scheduler.die()


async def test_sessions_that_are_asked_for_let_more_wait(room: Place, wanted) -> None:
    session = wanted()
    keep(room, session.account_id, least=1, most=10)
    scheduler = await room.scheduler()
    await pool_is(room, scheduler, 1)

    for _ in range(30):
        room.mesh.want(wanted_by(session))

    async def grown() -> bool:
        await scheduler.pools.step()
        waiting = await room.site.pods(role=labels.MEMBER_ROLE)
        return len(waiting) > 1

    await eventually(grown, what="more members than the least")
    assert len(await room.site.pods(role=labels.MEMBER_ROLE)) <= 10
