"""Faults whose moment came and that hit nothing."""

from __future__ import annotations

import attrs
import pytest

from farm.testing import FaultEvent, FaultScript
from farm.testing.faults import Drop, Fault, Reset
from farm.testing.faults.never_struck import annotated, never_struck, warning_text
from tests.testing.faults.world import World, everywhere, tell


@attrs.define
class Exchange:
    faults_begun: list[Fault]
    fault_log: list[FaultEvent] = attrs.Factory(list)
    streams_followed: set[str] = attrs.Factory(set)


DROP = Drop(1, "x@trade")
SAME = Drop(1, "x@trade")
RESET = Reset(2)


def test_one_that_hit_something_at_any_exchange_struck() -> None:
    hit = Exchange([DROP, RESET], [FaultEvent(1, DROP), FaultEvent(2, RESET, count=0)])
    missed = Exchange([DROP, RESET])
    assert never_struck([missed]) == [DROP, RESET]
    assert never_struck([missed, hit]) == [RESET]
    assert never_struck([hit, missed]) == [RESET]
    assert never_struck([]) == []


def test_of_two_faults_alike_each_is_itself() -> None:
    [found] = never_struck([Exchange([DROP, SAME], [FaultEvent(1, DROP)])])
    assert found is SAME
    text = annotated(FaultScript([DROP, SAME, RESET], seed="s"), [SAME])
    assert text.splitlines() == [
        '# seed "s"',
        "1.0 drop x@trade",
        "1.0 drop x@trade",
        "# ^ never struck",
        "2.0 reset",
    ]
    assert FaultScript.parse(text) == FaultScript([DROP, SAME, RESET], seed="s")


@pytest.mark.parametrize(
    ("stream", "followed", "said"),
    [
        ("x@trade", ["x@trade"], "struck anything"),
        ("*@trade", ["x@trade"], "struck anything"),
        ("X@TRADE", ["a@kline", "x@trade"], "nobody was subscribed to 'X@TRADE', but to x@trade"),
        ("zzz", ["b", "a"], "nobody was subscribed to 'zzz', but to a, b"),
        ("zzz", [], "nobody was subscribed to any stream"),
    ],
)
def test_names_that_look_alike_are_told(stream: str, followed: list[str], said: str) -> None:
    text = warning_text(Drop(1, stream), followed)
    assert text.startswith(f"the fault '1.0 drop {stream}' never struck anything")
    assert text.endswith(said)


@everywhere
async def test_an_exchange_tells_what_has_begun_and_what_was_followed(world: World) -> None:
    fake = world.binance(faults=FaultScript().reset(at=10_000))
    async with world.opened(fake):
        client = await world.ws(fake)
        hits, misses = Drop(0, "x@*"), Drop(0, "X@*")
        fake.strike(hits)
        fake.strike(misses)
        tell(fake, "x@trade", "lost", "arrives")
        assert await client.text() == "arrives"
    assert fake.faults_begun == [hits, misses]
    assert never_struck([fake]) == [misses]
    assert fake.streams_followed == {"x@trade"}
