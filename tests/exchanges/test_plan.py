"""Which streams share a connection."""

from __future__ import annotations

import json

import attrs
from hypothesis import given
from hypothesis import strategies as st

from farm.exchanges.plan import plan_connections
from farm.exchanges.streams import REST_ROUTE, Stream
from tests.exchanges.feeding import BINANCE_USDM, BYBIT_SPOT

SPECS = BYBIT_SPOT.streams.specs
SYMBOLS = st.sampled_from(["A", "BB", "CCCCCCCC", "D"])
STREAMS = st.builds(BYBIT_SPOT.streams.stream, SYMBOLS, st.sampled_from(SPECS))
ROUTED = st.builds(
    BINANCE_USDM.streams.stream,
    SYMBOLS,
    st.sampled_from(["trade", "quote", "book", "agg_trade", "ticker", "open_interest"]),
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


@given(st.lists(ROUTED, max_size=40), st.integers(1, 12))
def test_a_connection_takes_one_route(streams: list[Stream], most: int) -> None:
    rules = attrs.evolve(BINANCE_USDM, streams_per_connection=most)
    plan = plan_connections(streams, rules)
    assert sorted(s.name for part in plan for s in part) == sorted({s.name for s in streams})
    for part in plan:
        (route,) = {stream.route for stream in part}
        assert route == REST_ROUTE or len(part) <= most
    assert sum(part[0].route == REST_ROUTE for part in plan) <= 1  # polling has no limit


@given(st.lists(STREAMS, max_size=20), st.lists(STREAMS, max_size=20), st.integers(1, 12))
def test_what_is_added_goes_where_there_is_room_and_moves_nothing(
    before: list[Stream], added: list[Stream], most: int
) -> None:
    rules = attrs.evolve(BYBIT_SPOT, streams_per_connection=most)
    existing = plan_connections(before, rules)
    plan = plan_connections([*before, *added], rules, existing)
    assert len(plan) >= len(existing)
    carried = {stream.name for part in existing for stream in part}
    new = [stream.name for part in plan for stream in part]
    assert sorted(new) == sorted({stream.name for stream in added} - carried)
    for number, part in enumerate(plan):
        there = existing[number] if number < len(existing) else []
        assert len(there) + len(part) <= most
    assert all(plan[len(existing) :])  # only what exists may have nothing added


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
