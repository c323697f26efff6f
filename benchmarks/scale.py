"""Symbols by the thousand: throughput, memory, and how soon all of them have delivered.

The server of the end-to-end benchmarks sends trades and quotes, one of each stream as soon as it is
subscribed and then a flood in which the streams take turns in shuffled order; a user keeps the
latest event of each. Memory is what of the reader's process is resident; starting is from the
opening of the farm to the first event of the last stream, the pace of subscribing included that
Binance allows.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import attrs

from benchmarks.console import command_line
from benchmarks.contenders.race import Contender, RaceFailed, serving, task_for, told_by
from benchmarks.result import Case, Figure, Report
from benchmarks.rounds import in_rounds
from benchmarks.server_load import Load, symbols_named

__all__ = ["Size", "Told", "main", "measure", "run", "sizes", "slope"]

MB, KB = 2**20, 2**10
WIRE = {"trade": "trade", "quote": "bookTicker"}
LOOKS = 20
"""Looks at the memory in a flood."""

GOAL = 1.3
"""Of the time that an event takes with one symbol, with a thousand."""


@attrs.frozen
class Size:
    """So many symbols over so many connections, two streams each."""

    symbols: int
    connections: int

    @property
    def name(self) -> str:
        many = "s" if self.connections > 1 else ""
        some = "s" if self.symbols > 1 else ""
        return f"{self.symbols:,} symbol{some}, {self.connections} connection{many}"


def _pairs(looks: list[list[int]] | list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(count, nbytes) for count, nbytes in looks]


@attrs.frozen
class Told:
    """What one run told.

    ``startup`` in seconds; ``before``: bytes of memory before the farm was opened; ``looks``: after
    so many events of the flood so many bytes, the first when all streams had delivered;
    ``dropped``: batches that the user was too slow for.
    """

    events: int
    seconds: float
    cpu: float
    startup: float
    before: int
    looks: list[tuple[int, int]] = attrs.field(converter=_pairs)
    gaps: int
    dropped: int

    @property
    def memory(self) -> float:
        """MB when all streams had delivered."""
        return self.looks[0][1] / MB

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds


def sizes(quick: bool) -> list[Size]:
    """What is run; a connection holds 512 symbols of two streams at most."""
    if quick:
        return [Size(1, 1), Size(50, 2)]
    grid = [(1, 1), (10, 1), (10, 10), (100, 1), (100, 10), (100, 50)]
    return [Size(*place) for place in [*grid, (1000, 2), (1000, 10), (1000, 50)]]


def run(rounds: int, quick: bool) -> Report:
    """One long flood over the largest size, then all of them, each a few times."""
    grid = sizes(quick)
    total = 20_000 if quick else 200_000
    long = measure(grid[-1], 40_000 if quick else 1_000_000)
    found: dict[Size, list[Told]] = {}

    def runner(size: Size) -> Callable[[], float]:
        def run_once() -> float:
            told = measure(size, total)
            found.setdefault(size, []).append(told)
            return told.rate

        return run_once

    values = in_rounds({size.name: runner(size) for size in grid}, rounds)
    cases = [
        _throughput(grid, values, found),
        *_cases(grid, found),
        _flatness(grid[-1], long),
    ]
    return Report("scale", "Trades and quotes of many symbols", cases)


def measure(size: Size, total: int, streams: tuple[str, ...] = ("trade", "quote")) -> Told:
    """One run; RaceFailed where it fails, or not all came."""
    kinds = [WIRE[stream] for stream in streams]
    load = Load(symbols_named(size.symbols), total, kinds=kinds, greet=True)
    options = {"streams": list(streams), "looks": LOOKS}
    contender = Contender(size.name, "farm_scale", options)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with serving(load, directory) as server:
            task = task_for(load, size.connections, directory, server.port)
            told = Told(**told_by(contender, task, directory))
            sent = server.report()
    if told.gaps or told.dropped or told.events < sent["messages"]:
        raise RaceFailed(
            f"{size.name}: {told.events} of {sent['messages']} events, {told.gaps} gaps, and "
            f"{told.dropped} batches that the user was too slow for"
        )
    return told


def slope(looks: list[tuple[int, int]]) -> float:
    """Bytes by which the memory grows an event, after the first fifth of the events."""
    late = [look for look in looks if look[0] >= looks[-1][0] / 5]
    return statistics.linear_regression(*zip(*late, strict=True)).slope


def _throughput(
    grid: list[Size], values: dict[str, list[float]], found: dict[Size, list[Told]]
) -> Case:
    figures = []
    for size in grid:
        cpu = statistics.median(told.cpu / told.events * 1e6 for told in found[size])
        figures.append(Figure(size.name, values[size.name], 1.0, extra={"CPU us": cpu}))
    case = Case("flood of trades and quotes", "events/s", figures, lower_is_better=False)
    for size in grid:
        if size.symbols == grid[-1].symbols:
            what = f"time an event, {size.name}, to that of {grid[0].name}"
            case.aim_time(size.name, grid[0].name, GOAL, what=what)
    return case


def _cases(grid: list[Size], found: dict[Size, list[Told]]) -> list[Case]:
    def case(name: str, unit: str, of: Callable[[Told], float], sizes: list[Size]) -> Case:
        figures = [Figure(size.name, list(map(of, found[size]))) for size in sizes]
        return Case(name, unit, figures)

    start = case("start to the first event of every stream", "s", lambda t: t.startup, grid)
    start.note = "at the pace of subscribing and connecting that Binance allows"
    whole = case("memory when all have delivered", "MB", lambda t: t.memory, grid)
    least = statistics.median(told.memory for told in found[grid[0]])
    more = [
        Figure(
            size.name,
            [(told.memory - least) / (size.symbols - 1) * MB / KB for told in found[size]],
        )
        for size in grid
        if size.symbols > 1
    ]
    each = Case("memory a symbol more", "kB", more, note="two streams, its connections included")
    return [start, whole, each]


def _flatness(size: Size, told: Told) -> Case:
    """Memory in one long flood; its growth a million events ends the row."""
    late = next(nbytes for count, nbytes in told.looks if count >= told.events / 5)
    growth = {"MB a million events": slope(told.looks) * 1e6 / MB}
    figures = [
        Figure("when all have delivered", [told.memory]),
        Figure("after a fifth", [late / MB]),
        Figure("at the end", [told.looks[-1][1] / MB], extra=growth),
    ]
    return Case(f"memory in a flood of {told.events:,} events, {size.name}", "MB", figures)


def main() -> None:
    command_line("scale", __doc__, run)


if __name__ == "__main__":
    main()
