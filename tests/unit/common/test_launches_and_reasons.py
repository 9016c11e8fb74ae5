"""What may be launched, and what is said of every end: in terms that a caller can act on."""

from typing import Any

import pytest
from pydantic import ValidationError

from slipway_common.contracts.reasons import PLATFORM_FAULTS, words_of
from slipway_common.contracts.sessions import EndReason, SessionKind
from slipway_common.contracts.views import AccountChange, LaunchRequest


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"app": "depots"}, SessionKind.WEBUI),
        ({"app": "depots", "version": "1.0", "kind": "solve"}, SessionKind.SOLVE),
        ({"kind": "external", "service": "notebooks"}, SessionKind.EXTERNAL),
        ({"kind": "external", "service": "x", "app": None, "version": "latest"}, "external"),
    ],
)
def test_an_app_or_a_service_is_launched(body: dict[str, Any], kind: str) -> None:
    assert LaunchRequest.model_validate(body).kind == kind


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "app"),
        ({"kind": "solve"}, "app"),
        ({"app": "../etc"}, "app"),
        ({"app": "depots", "kind": "task"}, "kind"),
        ({"app": "depots", "kind": "desktop"}, "kind"),
        ({"app": "depots", "service": "notebooks"}, "service"),
        ({"kind": "external"}, "service"),
        ({"kind": "external", "service": "x", "app": "depots"}, "app"),
        ({"kind": "external", "service": "x", "version": "2"}, "version"),
        ({"app": "depots", "profile": "large"}, "profile"),
    ],
)
def test_a_launch_of_anything_else_is_refused_by_the_field_that_is_wrong(
    body: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValidationError) as found:
        LaunchRequest.model_validate(body)

    # A fault without a field would be told as a body that is no JSON.
    assert [fault["loc"] for fault in found.value.errors()] == [(field,)]


@pytest.mark.parametrize("field", ["session_limit", "queues"])
def test_what_the_operator_sets_is_refused_as_that(field: str) -> None:
    with pytest.raises(ValidationError, match="only the operator of the installation sets this"):
        AccountChange.model_validate({field: 1})


@pytest.mark.parametrize("kind", list(SessionKind))
@pytest.mark.parametrize("reason", list(EndReason))
def test_every_end_of_every_kind_has_words_and_advice(reason: EndReason, kind: SessionKind) -> None:
    words = words_of(reason, kind)

    assert len(words.headline) > 15
    assert words.detail.endswith(".")
    assert "{" not in words.headline + words.detail + words.advice
    nothing_to_do = {EndReason.STOPPED, EndReason.FINISHED}
    if kind is SessionKind.TASK:
        nothing_to_do |= {EndReason.IDLE, EndReason.TIME_LIMIT}
    assert bool(words.advice) is (reason not in nothing_to_do)


def test_advice_is_about_what_was_launched() -> None:
    assert "app again" in words_of(EndReason.NODE_LOST, SessionKind.WEBUI).advice
    assert "repeat the call" in words_of(EndReason.NODE_LOST, SessionKind.SOLVE).advice
    assert "service again" in words_of(EndReason.NODE_LOST, SessionKind.EXTERNAL).advice
    for reason in PLATFORM_FAULTS:
        assert "started again" in words_of(reason, SessionKind.TASK).advice
    assert "publisher" not in words_of(EndReason.OUT_OF_MEMORY, SessionKind.EXTERNAL).advice
