"""What a batch costs that crosses from a shard to its parent: CPU time of both ends together.

Two processes and a real socketpair between them: the shard's end encodes and sends, the parent's
receives, decodes, and looks at two columns, or at all objects. In a *flood* the sender sends on
and on; *paced* it waits for each batch to have arrived, so that each finds both ends asleep. The
reader's byte for every frame is in all figures, and so is the sender's wake by it where it is
paced.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import trio

from benchmarks.parsing.by_farm import bundles, opened
from benchmarks.payloads import frames_of
from benchmarks.result import Case, Figure, Goal
from benchmarks.rounds import in_rounds
from farm.bundle import Bundle
from farm.cluster.codec import encode_bundle
from farm.cluster.link import FrameKind, Link
from farm.types import Exchange, Market

__all__ = ["BARE", "FRESH", "MADE", "ROWS", "Crossing", "cross", "link_cases", "parents_end"]

ROOT = Path(__file__).resolve().parents[1]
SIZES = (1, 10, 100, 1_000)
MOST_BATCHES = 4_000
GOAL_SIZE, GOAL = 100, 500.0
"""Nanoseconds an event, of batches of so many."""

FRESH = "farm, its columns made for it"
MADE = "farm, its columns made before"
ROWS = "farm, objects made before"
BARE = "the same bytes, unread"

_STREAMS = {
    "trades": (Market.SPOT, b"@trade"),
    "quotes": (Market.SPOT, b"@bookTicker"),
    "book diffs": (Market.USDM, b"@depth"),
}


@attrs.frozen
class Crossing:
    """So many batches of ``size`` events each."""

    what: str
    size: int
    count: int
    paced: bool

    @property
    def name(self) -> str:
        pace = "paced" if self.paced else "flood"
        return f"link, {self.what}, {self.size:,} a batch, {pace}"

    @property
    def events(self) -> int:
        return self.size * self.count

    def bundles(self) -> list[Bundle]:
        """As a parser has just made them."""
        market, marker = _STREAMS[self.what]
        frames = _frames(market, marker, self.events)
        reads = [frames[at : at + self.size] for at in range(0, self.events, self.size)]
        session = opened(Exchange.BINANCE, market, reads)
        return list(bundles(session, reads))


def link_cases(rounds: int, quick: bool) -> list[Case]:
    """Trades in batches of all sizes, other kinds in batches of a hundred."""
    total = 10_000 if quick else 40_000
    given = [("trades", size) for size in ((GOAL_SIZE,) if quick else SIZES)]
    if not quick:
        given += [("quotes", GOAL_SIZE), ("book diffs", GOAL_SIZE)]
    crossings = [
        Crossing(what, size, min(total // size, MOST_BATCHES), paced)
        for what, size in given
        for paced in (False, True)
    ]
    with parents_end() as end:
        return [_case(crossing, end, rounds) for crossing in crossings]


@cache
def _frames(market: Market, marker: bytes, count: int) -> list[bytes]:
    return frames_of(Exchange.BINANCE, market, marker, count)[0]


def _case(crossing: Crossing, end: End, rounds: int) -> Case:
    ways: dict[str, tuple[Callable[[Bundle], object], str]] = {
        FRESH: (lambda _bundle: None, "columns"),
        MADE: (_make_columns, "columns"),
        ROWS: (_make_rows, "objects"),
        BARE: (lambda _bundle: None, "nothing"),
    }
    found: dict[str, list[Crossed]] = {name: [] for name in ways}

    def runner(name: str) -> Callable[[], float]:
        prepare, read = ways[name]

        def run_once() -> float:
            crossed = cross(crossing, end, prepare, read)
            found[name].append(crossed)
            return (crossed.shard + crossed.parent) / crossing.events * 1e9

        return run_once

    values = in_rounds({name: runner(name) for name in ways}, rounds)
    figures = [_figure(name, values[name], found[name], crossing.events) for name in ways]
    case = Case(crossing.name, "CPU ns an event", figures)
    if crossing.size == GOAL_SIZE and crossing.what == "trades":
        for figure in figures[:2]:
            what = f"{figure.contender}, ns an event"
            case.goals.append(Goal(what, figure.median, GOAL, at_least=False))
    return case


def _figure(name: str, values: list[float], crossed: list[Crossed], events: int) -> Figure:
    shard = statistics.median(one.shard for one in crossed) / events * 1e9
    delivered = None if name == BARE else min(one.events for one in crossed) / events
    return Figure(name, values, delivered, extra={"in the shard": shard})


def _make_columns(bundle: Bundle) -> None:
    """As a sink has done that stores them."""
    for batch in bundle.batches:
        dict(batch.columns)


def _make_rows(bundle: Bundle) -> None:
    """As a book's keeper has done, or whoever else looks at objects in the shard."""
    for batch in bundle.batches:
        assert batch.rows


# ------------------------------------------------------------------------------------------- ends
@attrs.frozen
class End:
    """The parent's end, in another process, as we have it."""

    link: socket.socket
    bell: socket.socket


@attrs.frozen
class Crossed:
    """CPU seconds of both ends, and the events that were looked at."""

    shard: float
    parent: float
    events: int


@contextmanager
def parents_end() -> Iterator[End]:
    """A process that reads (:mod:`benchmarks.shard_link_reader`)."""
    ours, theirs = socket.socketpair()
    our_bell, their_bell = socket.socketpair()
    numbers = theirs.fileno(), their_bell.fileno()
    command = [sys.executable, "-m", "benchmarks.shard_link_reader", *map(str, numbers)]
    with ours, our_bell, subprocess.Popen(command, cwd=ROOT, pass_fds=numbers) as process:
        theirs.close()
        their_bell.close()
        try:
            yield End(ours, our_bell)
        finally:
            process.kill()


def cross(crossing: Crossing, end: End, prepare: Callable[[Bundle], object], read: str) -> Crossed:
    """One run. `prepare` is not measured, and with `read` ``nothing`` the encoding neither."""
    items: list[Any] = crossing.bundles()
    for bundle in items:
        prepare(bundle)
    encode: Callable[[Any], bytes] = encode_bundle
    if read == "nothing":
        items, encode = list(map(encode_bundle, items)), bytes
    pace = "paced" if crossing.paced else "flood"
    return trio.run(_send, end, items, encode, f"{read} {pace}".encode(), crossing.paced)


async def _send(
    end: End, items: list[Any], encode: Callable[[Any], bytes], how: bytes, paced: bool
) -> Crossed:
    """Send everything, each by itself."""
    bell = end.bell
    link = Link(trio.SocketStream(trio.socket.from_stdlib_socket(end.link.dup())))

    async def hear() -> None:
        await trio.lowlevel.wait_readable(bell)
        os.read(bell.fileno(), 1)

    await link.send([(FrameKind.MESSAGE, how)])
    await hear()
    gc.collect()
    cpu = time.process_time()
    for item in items:
        await link.send([(FrameKind.BUNDLE, encode(item))])
        if paced:
            await hear()
    cpu = time.process_time() - cpu
    await link.send([(FrameKind.MESSAGE, b"")])
    ((_, told),) = await link.receive()
    await link.aclose()
    return Crossed(cpu, **json.loads(told))
