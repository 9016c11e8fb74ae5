"""Placeholders: how many there should be, and what they look like."""

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from pydantic import ValidationError

from slipway_scheduler.kubernetes.objects import Pod
from slipway_scheduler.nodes.placeholders import PlaceholderStyle, changes, manifest
from slipway_scheduler.nodes.specs import PlaceholderSpec, read_pools
from unit.scheduler.nodes.making import NOW, spec

MORNING = {"days": ["mon", "tue"], "start": "07:30", "end": "09:00", "least": 5}
NIGHT = {"days": ["fri"], "start": "22:00", "end": "02:00", "least": 3}


def kept(count=2, *windows, zone="Europe/Berlin"):
    size = {"cpu": 1, "memory_mib": 1024, "count": count}
    return PlaceholderSpec.model_validate(
        size | {"windows": [window | {"zone": zone} for window in windows]}
    )


def there(name, *, phase="Pending", pool="small", role="placeholder", **metadata):
    labels = {"slipway.dev/role": role, "slipway.dev/pool": pool}
    body = {
        "metadata": {"name": name, "uid": name, "labels": labels} | metadata,
        "status": {"phase": phase},
    }
    return msgspec.convert(body, Pod)


def planned(*pods, count=2):
    return changes(spec(placeholders=kept(count)), pods, now=NOW)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-03-02 07:29", 2),
        ("2026-03-02 07:30", 5),
        ("2026-03-02 09:00", 2),
        ("2026-03-04 08:00", 2),
        ("2026-03-06 21:59", 2),
        ("2026-03-06 23:00", 3),
        ("2026-03-07 01:59", 3),
        ("2026-03-07 02:00", 2),
        ("2026-03-07 23:00", 2),
    ],
)
def test_the_clock_of_their_time_zone_decides(moment, expected):
    local = datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo("Europe/Berlin"))

    assert kept(2, MORNING, NIGHT).wanted(local.astimezone(ZoneInfo("UTC"))) == expected


def test_those_that_are_missing_are_made_under_their_own_names():
    plan = planned(there("slipway-placeholder-small-1"))

    assert plan.make == ("slipway-placeholder-small-0",)
    assert plan.remove == ()


def test_those_above_the_count_are_removed():
    plan = planned(there("slipway-placeholder-small-0"), there("slipway-placeholder-small-5"))

    assert [pod.metadata.name for pod in plan.remove] == ["slipway-placeholder-small-5"]


def test_one_that_was_evicted_and_remains_as_failed_is_removed_first():
    plan = planned(there("slipway-placeholder-small-0", phase="Failed"), count=1)

    assert plan.make == ()
    assert len(plan.remove) == 1


def test_one_that_is_ending_is_waited_for():
    plan = planned(there("slipway-placeholder-small-0", deletionTimestamp=NOW), count=1)

    assert (plan.make, plan.remove) == ((), ())


def test_other_pods_and_other_pools_are_left_alone():
    plan = planned(there("a", role="session"), there("b", pool="large"), count=0)

    assert (plan.make, plan.remove) == ((), ())


def test_a_placeholder_may_do_nothing_and_is_the_first_to_go():
    body = manifest(
        spec(placeholders=kept()), "p", PlaceholderStyle(image="pause:1", namespace="sessions")
    )

    container = body["spec"]["containers"][0]
    assert body["spec"]["priorityClassName"] == "slipway-placeholder"
    assert body["spec"]["automountServiceAccountToken"] is False
    assert body["spec"]["terminationGracePeriodSeconds"] == 0
    assert body["spec"]["nodeSelector"] == {"slipway.dev/pool": "small"}
    assert container["resources"]["requests"] == {"cpu": "1000m", "memory": "1073741824"}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_pools_are_read_from_a_file(tmp_path):
    file = tmp_path / "pools.json"
    file.write_text(
        '[{"name": "work", "cpu": 7, "memory_mib": 28000, "maximum": 20, "minimum": 1,'
        ' "placeholders": {"cpu": 1, "memory_mib": 2048, "windows":'
        ' [{"days": ["mon"], "start": "07:00", "end": "09:00", "least": 3}]}}]'
    )

    (pool,) = read_pools(file)

    assert (pool.name, pool.maximum, pool.placeholders.windows[0].least) == ("work", 20, 3)
    assert read_pools(None) == ()


@pytest.mark.parametrize(
    "text",
    [
        '[{"name": "a", "cpu": 1, "memory_mib": 1, "maximum": 1, "minimum": 2}]',
        '[{"name": "A!", "cpu": 1, "memory_mib": 1, "maximum": 1}]',
        '[{"name": "a", "cpu": 1, "memory_mib": 1, "maximum": 1, "sise": 2}]',
        (
            '[{"name": "a", "cpu": 1, "memory_mib": 1, "maximum": 1, "placeholders":'
            ' {"cpu": 1, "memory_mib": 1, "windows": [{"start": "07:00", "end": "08:00",'
            ' "least": 1, "zone": "Europe/Atlantis"}]}}]'
        ),
    ],
)
def test_pools_that_make_no_sense_are_refused_at_the_start(tmp_path, text):
    file = tmp_path / "pools.json"
    file.write_text(text)

    with pytest.raises((ValidationError, LookupError)):
        read_pools(file)


def test_two_pools_of_one_name_are_refused(tmp_path):
    file = tmp_path / "pools.json"
    one = '{"name": "a", "cpu": 1, "memory_mib": 1, "maximum": 1}'
    file.write_text(f"[{one}, {one}]")

    with pytest.raises(ValueError, match="the same name"):
        read_pools(file)
