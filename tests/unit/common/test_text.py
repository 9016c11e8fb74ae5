"""How long something lasted, in words."""

import pytest

from slipway_common.text import span


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (20.4, "20 seconds"),
        (60, "1 minute"),
        (90, "90 seconds"),
        (120, "2 minutes"),
        (1000, "17 minutes"),
        (12 * 3600, "720 minutes"),
    ],
)
def test_a_span_is_said_so_that_it_is_not_false(seconds: float, said: str) -> None:
    assert span(seconds) == said
