"""Both servers write down what was asked of them in one shape, and one checker reads it."""

import json
from typing import Any

from support.kubernetes.asking import Server, pod
from support.kubernetes.audit import Report, check_lines
from support.kubernetes.lives import Rule
from support.waiting import eventually

SESSION = "5e551011-0000-4000-8000-000000000001"
NAME = f"session-{SESSION}"
LABELS = {"slipway.dev/role": "session", "slipway.dev/session": SESSION}
FINALIZER = "slipway.dev/concluded"


def owned(secret: Any) -> dict[str, Any]:
    owner = {"apiVersion": "v1", "kind": "Secret", "name": NAME, "uid": secret["metadata"]["uid"]}
    return {"ownerReferences": [owner]}


async def begin(server: Server) -> Any:
    secret = await server.create("secrets", {"metadata": {"name": NAME}, "data": {"k": "Y2FuYXJ5"}})
    metadata = {"finalizers": [FINALIZER], **owned(secret)}
    return await server.create(
        "pods", pod(NAME, labels=LABELS, nodeName="nowhere", metadata=metadata)
    )


async def delete(server: Server, found: Any, **more: Any) -> Any:
    options = {"preconditions": {"uid": found["metadata"]["uid"]}, **more}
    return await server.ask("DELETE", server.path("pods", found["metadata"]["name"]), options)


async def lines_of(server: Server, *, verb: str, plural: str, at_least: int = 1) -> list[Any]:
    """What was written of this namespace; the last line can be a moment late."""

    async def written() -> list[Any]:
        lines = [json.loads(line) for line in raw(server)]
        found = [
            line
            for line in lines
            if line["verb"] == verb and line["objectRef"]["resource"] == plural
        ]
        return found if len(found) >= at_least else []

    return await eventually(written, what=f"{at_least} lines of {verb} {plural}")


def raw(server: Server) -> list[bytes]:
    """Other tests write to the same log; a line counts when it is whole."""
    log = server.audit_log.read_bytes().splitlines(keepends=True)
    named = f'"namespace":"{server.namespace}"'.encode()
    return [line for line in log if named in line and line.endswith(b"\n")]


async def judged(server: Server, *, deletes: int) -> Report:
    await lines_of(server, verb="delete", plural="pods", at_least=deletes)
    return check_lines(raw(server))


async def test_a_create_is_written_down_with_what_came_of_it(server: Server) -> None:
    created = await begin(server)

    (line,) = await lines_of(server, verb="create", plural="pods")

    assert (line["kind"], line["apiVersion"]) == ("Event", "audit.k8s.io/v1")
    assert (line["level"], line["stage"]) == ("RequestResponse", "ResponseComplete")
    assert line["requestURI"] == f"/api/v1/namespaces/{server.namespace}/pods"
    assert line["user"]["username"]
    assert line["objectRef"] == {
        "resource": "pods",
        "namespace": server.namespace,
        "name": NAME,
        "apiVersion": "v1",
    }
    assert line["responseStatus"] == {"metadata": {}, "code": 201}
    assert line["requestObject"]["metadata"]["name"] == NAME
    assert line["responseObject"]["kind"] == "Pod"
    for key in ("uid", "resourceVersion", "labels", "finalizers", "ownerReferences"):
        assert line["responseObject"]["metadata"][key] == created["metadata"][key]
    for key in ("requestReceivedTimestamp", "stageTimestamp"):
        assert len(line[key]) == len("2026-11-25T00:57:38.384318Z")
    assert line["requestReceivedTimestamp"] < line["stageTimestamp"]


async def test_a_refusal_is_written_down_with_its_reason(server: Server) -> None:
    await begin(server)
    await server.refused("POST", server.path("pods"), pod(NAME))

    lines = await lines_of(server, verb="create", plural="pods", at_least=2)

    refusal = {
        "metadata": {},
        "status": "Failure",
        "message": f'pods "{NAME}" already exists',
        "reason": "AlreadyExists",
        "details": {"name": NAME, "kind": "pods"},
        "code": 409,
    }
    assert lines[1]["responseStatus"] == refusal
    assert lines[1]["responseObject"] == {"kind": "Status", "apiVersion": "v1", **refusal}


async def test_of_a_secret_is_written_who_touched_it_and_nothing_that_is_in_it(
    server: Server,
) -> None:
    await begin(server)

    (line,) = await lines_of(server, verb="create", plural="secrets")

    assert line["level"] == "Metadata"
    assert line["objectRef"]["name"] == NAME
    assert line["responseStatus"]["code"] == 201
    assert "requestObject" not in line
    assert "responseObject" not in line
    assert not any(b"Y2FuYXJ5" in found for found in raw(server))


async def test_the_status_of_a_pod_is_written_down_as_a_part_of_it(server: Server) -> None:
    await begin(server)
    await server.patch("pods", NAME, {"status": {"phase": "Running"}}, "status")

    (line,) = await lines_of(server, verb="patch", plural="pods")

    assert line["objectRef"]["subresource"] == "status"
    assert line["requestObject"] == {"status": {"phase": "Running"}}
    assert line["responseObject"]["status"]["phase"] == "Running"


async def test_the_life_of_a_session_is_found_right(server: Server) -> None:
    made = await begin(server)
    await server.patch("pods", NAME, {"status": {"phase": "Running"}}, "status")
    await delete(server, made)
    await server.patch("pods", NAME, {"status": {"phase": "Succeeded"}}, "status")
    await delete(server, made, gracePeriodSeconds=0)
    await server.patch("pods", NAME, {"metadata": {"finalizers": None}})

    report = await judged(server, deletes=2)

    assert report.violations == []
    assert (report.sessions, report.creates, report.most_at_once) == (1, 1, 1)
    assert report.unended == 0


async def test_a_claim_is_found_right(server: Server) -> None:
    member = await server.create("pods", pod("member", labels={"slipway.dev/role": "member"}))
    secret = await server.create("secrets", {"metadata": {"name": NAME}})
    await server.patch("pods", "member", {"metadata": {"labels": LABELS, **owned(secret)}})
    await delete(server, member)

    report = await judged(server, deletes=1)

    assert report.violations == []
    assert (report.sessions, report.creates, report.claims) == (1, 0, 1)


async def test_two_pods_of_one_session_are_found(server: Server) -> None:
    made = await begin(server)
    secret = await server.get("secrets", NAME)
    await server.create("pods", pod("other", labels=LABELS, metadata=owned(secret)))
    await delete(server, made)

    report = await judged(server, deletes=1)

    assert [found.rule for found in report.violations] == [Rule.TWO_AT_ONCE, Rule.SECOND_POD]
    assert report.most_at_once == 2


async def test_a_pod_without_its_secret_and_a_blind_delete_are_found(server: Server) -> None:
    await server.create("pods", pod(NAME, labels=LABELS))
    await server.ask("DELETE", server.path("pods", NAME))

    report = await judged(server, deletes=1)

    assert [found.rule for found in report.violations] == [
        Rule.DELETED_BLINDLY,
        Rule.NO_REFERENCE,
        Rule.NO_REFERENCE,
    ]
