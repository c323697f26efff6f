"""Contenders of the parse benchmark make the same events; their speed is nothing to a test."""

from __future__ import annotations

import importlib.util
import json

import attrs
import pytest

from benchmarks.cryptofeeds import cryptofeeds
from benchmarks.parse import (
    CRYPTOFEED,
    FLOOR,
    JSON,
    KEPT,
    OBJECTS,
    ORJSON,
    READ_BYTES,
    facts,
    measure_book,
    measure_case,
    reads_of,
    share,
)
from benchmarks.parsing import by_farm
from benchmarks.parsing.cases import CASES, KEPT_BOOKS, KeptBook, ParseCase
from benchmarks.payloads import frames_of
from tests.recordings import recording

cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@cases
def test_everybody_delivers_all_events_equal_field_by_field(case: ParseCase) -> None:
    recording(case.file or "binance_spot_btcusdt_20240808.log.gz")
    made = measure_case(case, 150, 1, None)
    for figure in made.figures:
        if figure.contender in (CRYPTOFEED, ORJSON) and figure.absent is not None:
            continue
        assert figure.absent is None
        assert len(figure.values) == 1
        if figure.contender != FLOOR:  # which makes no events
            assert figure.delivered == 1.0, figure.contender
    assert {OBJECTS, JSON} <= {figure.contender for figure in made.figures}
    assert made.goals


@pytest.mark.parametrize("book", KEPT_BOOKS, ids=lambda book: book.name)
def test_kept_books_take_every_recorded_change(book: KeptBook) -> None:
    recording(book.file)
    made = measure_book(book, 100_000, 1, None)
    assert made.figure(KEPT).delivered == 1.0
    assert made.figure(CRYPTOFEED).absent is not None


def test_an_event_that_differs_is_not_delivered() -> None:
    (case, *_) = CASES
    frames, _ = frames_of(*case.market, case.marker, 10)
    right = [facts(event) for frame in frames for event in case.build()(_loads(frame))]
    events = by_farm.events_of(*case.market, case.kinds, [frames])
    assert share(events, right) == 1.0
    events[3] = attrs.evolve(events[3], price=1.0)
    assert share(events, right) == 0.9
    assert share(events[:5], right) == 0.4
    assert share([*events, events[0]], right) < 0.9


def _loads(frame: bytes) -> dict[str, object]:
    loaded: dict[str, object] = json.loads(frame)
    return loaded


def test_reads_are_as_long_as_one_of_the_socket() -> None:
    frames = [bytes(size) for size in (30_000, 30_000, 10_000, 100_000, 1)]
    assert [len(read) for read in reads_of(frames)] == [2, 1, 1, 1]
    assert all(sum(map(len, read)) <= READ_BYTES or len(read) == 1 for read in reads_of(frames))


@pytest.mark.skipif(
    importlib.util.find_spec("cryptofeed") is None, reason="cryptofeed is not installed (peers)"
)
def test_cryptofeed_calls_back_for_every_event() -> None:
    python, _ = next(iter(cryptofeeds().values()))
    recording("session_bybit_20260809.jsonl.gz")
    for case in CASES:
        if case.channel:
            made = measure_case(case, 60, 1, python)
            assert made.figure(CRYPTOFEED).delivered == 1.0, case.name
