"""The benchmark of scale: it measures what it says, and misses nothing."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from benchmarks import scale
from benchmarks.contenders.race import RaceFailed
from benchmarks.scale import Size, Told, measure, sizes, slope

TOLD = Told(1000, 2.0, 1.0, 0.5, 2**20, [(0, 2**21), (1000, 2**21)], 0, 0)


def test_every_stream_delivers_and_the_memory_is_looked_at() -> None:
    told = measure(Size(6, 3), 1200)
    assert (told.events, told.gaps) == (1200, 0)
    assert len(told.looks) >= 2
    assert told.looks == sorted(set(told.looks))
    assert told.before / 2**20 < told.memory
    assert told.startup > 0


def test_events_that_did_not_come_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    said: dict[str, Any] = attrs.asdict(TOLD)
    monkeypatch.setattr(scale, "told_by", lambda *_: said)
    monkeypatch.setattr(scale, "serving", FakeServer)
    with pytest.raises(RaceFailed, match="1000 of 1200"):
        measure(Size(6, 3), 1200)
    for lost in ("gaps", "dropped"):
        said |= {"events": 1200, "gaps": 0, "dropped": 0} | {lost: 2}
        with pytest.raises(RaceFailed, match=r"1200 of 1200 events, .*\b2 "):
            measure(Size(6, 3), 1200)


class FakeServer:
    port = 1

    def __init__(self, *_: object) -> None: ...

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *_: object) -> None: ...

    def report(self) -> dict[str, int]:
        return {"messages": 1200}


def test_a_slope_leaves_the_first_fifth_out() -> None:
    assert slope([(count, 3 * count) for count in range(0, 1001, 50)]) == pytest.approx(3.0)
    warming = [(0, 0), (50, 1000), (100, 9000), (150, 50_000)]
    assert slope([*warming, *[(count, 70_000) for count in range(200, 1001, 50)]]) == 0.0


def test_a_connection_holds_its_symbols() -> None:
    for quick in (False, True):
        for size in sizes(quick):
            assert size.symbols >= size.connections
            assert size.symbols / size.connections * 2 <= 1024


def test_the_report_holds_a_thousand_symbols_against_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(size: Size, total: int) -> Told:
        seconds = 2.0 if size.symbols < 1000 else 4.0
        memory = size.symbols * 1024 + 2**20
        looks = [(count * total // 10, memory) for count in range(11)]
        return attrs.evolve(TOLD, events=total, seconds=seconds, looks=looks)

    monkeypatch.setattr(scale, "measure", fake)
    report = scale.run(1, False)
    throughput, start, whole, each, flat = report.cases
    assert [(goal.ratio, goal.met) for goal in throughput.goals] == [(2.0, False)] * 3
    assert {figure.median for figure in each.figures} == {1.0}
    assert {figure.median for figure in start.figures} == {0.5}
    assert len(whole.figures) == len(sizes(False))
    assert flat.figure("at the end").extra == {"MB a million events": 0.0}
    assert json.dumps(report.to_json())
