"""Which pools there should be: what the operator wrote, met with what is published."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from slipway_common.contracts.sessions import Resources
from slipway_scheduler.warm.members import PoolKey
from slipway_scheduler.warm.policies import (
    WarmPolicy,
    read_policies,
    release_of,
    wanted_pools,
)

ONE, OTHER = UUID(int=1), UUID(int=2)
OLD, NEW, NEXT = "1.0.9.2-linux64-x64", "1.0.10.1-linux64-x64", "1.1.0.0-linux64-x64"
LARGE = Resources(profile="large", memory_mib=16384)


def policy(**more: Any) -> WarmPolicy:
    return WarmPolicy.model_validate(more)


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "policies.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_without_a_file_there_are_no_pools() -> None:
    assert read_policies(None) == ()


def test_a_file_says_what_waits_when(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        [
            {
                "account": str(ONE),
                "release": "1.0",
                "profile": LARGE.model_dump(),
                "least": 1,
                "most": 20,
                "windows": [
                    {
                        "days": ["mon", "tue"],
                        "start": "07:30",
                        "end": "09:00",
                        "zone": "Europe/Berlin",
                        "least": 12,
                    }
                ],
                "max_age_hours": 6,
            }
        ],
    )

    [found] = read_policies(path)

    sizes = found.sizes()
    assert (sizes.least, sizes.most) == (1, 20)
    [window] = sizes.windows
    assert window.least == 12
    assert window.covers(datetime(2026, 3, 2, 7, 0, tzinfo=UTC))
    assert not window.covers(datetime(2026, 3, 4, 7, 0, tzinfo=UTC))
    assert found.max_age.total_seconds() == 6 * 3600


WRONG: dict[str, Any] = {
    "no list": {},
    "no JSON": "{",
    "an unknown field": [{"lest": 3}],
    "less than nothing": [{"least": -1}],
    "more than at most": [{"least": 11, "most": 10}],
    "a window with more than at most": [
        {"most": 2, "windows": [{"start": "08:00", "end": "09:00", "least": 3}]}
    ],
    "an unknown zone": [
        {"windows": [{"start": "08:00", "end": "09:00", "least": 1, "zone": "Mars/Base"}]}
    ],
    "a zone that is a folder": [
        {"windows": [{"start": "08:00", "end": "09:00", "least": 1, "zone": "Europe"}]}
    ],
    "a zone that is a path": [
        {"windows": [{"start": "08:00", "end": "09:00", "least": 1, "zone": "../zones"}]}
    ],
    "a time with a zone of its own": [
        {"windows": [{"start": "08:00+02:00", "end": "09:00", "least": 1}]}
    ],
    "an unknown day": [
        {"windows": [{"start": "08:00", "end": "09:00", "least": 1, "days": ["x"]}]}
    ],
    "members that are stale at once": [{"max_age_hours": 0}],
    "members that never are": [{"max_age_hours": 1e12}],
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG.keys())
def test_a_file_that_is_wrong_stops_the_start_and_says_where(tmp_path: Path, content: Any) -> None:
    with pytest.raises(ValidationError):
        read_policies(written(tmp_path, content))


def test_the_newest_runtime_of_each_release_and_account_gets_a_pool() -> None:
    published = [(ONE, OLD), (ONE, NEW), (ONE, NEXT), (OTHER, OLD)]

    pools = wanted_pools([policy(least=1)], published)

    assert set(pools) == {
        PoolKey(ONE, NEW, Resources()),
        PoolKey(ONE, NEXT, Resources()),
        PoolKey(OTHER, OLD, Resources()),
    }


def test_a_policy_counts_for_its_account_and_its_release_only() -> None:
    published = [(ONE, NEW), (ONE, NEXT), (OTHER, NEW)]

    pools = wanted_pools([policy(account=str(ONE), release="1.0")], published)

    assert set(pools) == {PoolKey(ONE, NEW, Resources())}


def test_the_first_policy_that_fits_a_pool_counts() -> None:
    special, general = policy(account=str(ONE), least=5), policy(least=1)

    pools = wanted_pools([special, general], [(ONE, NEW), (OTHER, NEW)])

    assert pools[PoolKey(ONE, NEW, Resources())] is special
    assert pools[PoolKey(OTHER, NEW, Resources())] is general


def test_each_profile_has_a_pool_of_its_own() -> None:
    pools = wanted_pools([policy(), policy(profile=LARGE.model_dump())], [(ONE, NEW)])

    assert set(pools) == {PoolKey(ONE, NEW, Resources()), PoolKey(ONE, NEW, LARGE)}


def test_one_profile_that_two_policies_describe_differently_has_one_pool_by_the_first() -> None:
    more = LARGE.model_copy(update={"memory_mib": 32768})
    first, second = policy(profile=LARGE.model_dump()), policy(profile=more.model_dump())

    assert wanted_pools([first, second], [(ONE, NEW)]) == {PoolKey(ONE, NEW, LARGE): first}


def test_where_nothing_is_published_nothing_waits() -> None:
    assert wanted_pools([policy(least=3)], []) == {}


def test_the_order_in_which_runtimes_were_published_does_not_matter() -> None:
    published = [(ONE, OLD), (ONE, NEW), (OTHER, OLD)]

    assert wanted_pools([policy()], published) == wanted_pools([policy()], published[::-1])


def test_the_release_is_the_first_two_numbers() -> None:
    assert release_of(NEW) == "1.0"
    assert release_of(NEXT) == "1.1"
