"""Which streams share a connection."""

from __future__ import annotations

import json

import attrs
from hypothesis import given
from hypothesis import strategies as st

from farm.exchanges.plan import plan_connections
from farm.exchanges.streams import Stream
from tests.exchanges.feeding import BYBIT_SPOT

SPECS = BYBIT_SPOT.streams.specs
STREAMS = st.builds(
    BYBIT_SPOT.streams.stream, st.sampled_from(["A", "BB", "CCCCCCCC", "D"]), st.sampled_from(SPECS)
)


@given(st.lists(STREAMS, max_size=40), st.integers(1, 12), st.none() | st.integers(40, 200))
def test_every_stream_is_planned_once_and_no_limit_is_passed(
    streams: list[Stream], most: int, characters: int | None
) -> None:
    rules = attrs.evolve(BYBIT_SPOT, streams_per_connection=most, request_characters=characters)
    plan = plan_connections(streams, rules)
    planned = [stream.name for part in plan for stream in part]
    assert sorted(planned) == sorted({stream.name for stream in streams})
    for part in plan:
        assert 1 <= len(part) <= most
        names = [stream.name for stream in part]
        assert characters is None or len(json.dumps(names, separators=(",", ":"))) <= characters


@given(st.lists(STREAMS, max_size=40), st.integers(len(SPECS), 60))
def test_the_streams_of_a_symbol_stay_together_where_they_fit(
    streams: list[Stream], most: int
) -> None:
    plan = plan_connections(streams, attrs.evolve(BYBIT_SPOT, streams_per_connection=most))
    for symbol in {stream.symbol for stream in streams}:
        assert sum(any(s.symbol == symbol for s in part) for part in plan) == 1


def test_the_brackets_of_a_request_count() -> None:
    streams = [BYBIT_SPOT.streams.stream(symbol, "trade") for symbol in ("A", "B")]
    characters = len('["publicTrade.A","publicTrade.B"]')
    for spare, connections in [(0, 1), (-1, 2)]:
        rules = attrs.evolve(BYBIT_SPOT, request_characters=characters + spare)
        assert len(plan_connections(streams, rules)) == connections


def test_what_fits_on_one_connection_is_on_one() -> None:
    streams = [BYBIT_SPOT.streams.stream(f"S{n}", "trade") for n in range(500)]
    assert [len(part) for part in plan_connections(streams, BYBIT_SPOT)] == [500]
    assert [len(part) for part in plan_connections([*streams, streams[0]], BYBIT_SPOT)] == [500]
    extra = BYBIT_SPOT.streams.stream("X", "trade")
    assert [len(part) for part in plan_connections([*streams, extra], BYBIT_SPOT)] == [500, 1]
    assert plan_connections([], BYBIT_SPOT) == []
