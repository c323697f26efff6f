"""How long the faults of a script hold things up."""

from __future__ import annotations

import pytest

from farm.testing import FaultScript
from farm.testing.chaos.patience import bans, slack
from farm.testing.network import DELAYS


@pytest.mark.parametrize(
    ("faults", "more"),
    [
        ("1 reset", 0.0),
        ("1 delay x seconds=2\n2 stall seconds=3", 5.0),
        ("1 reorder x by=3", 3.0),
        ("1 corrupt x how=nan count=3", 0.0),
        ("1 corrupt x how=deep count=2", 8 * DELAYS[1]),
    ],
)
def test_what_was_held_back_is_late(faults: str, more: float) -> None:
    assert slack(FaultScript.parse(faults)) == pytest.approx(DELAYS[1] + more)


def test_who_is_banned_stays_away() -> None:
    script = FaultScript.parse("1 reject status=429 count=2\n2 rest_status status=418\n3 reset")
    assert bans(script) == 2 * 60.0 + 120.0
