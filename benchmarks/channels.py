"""The hops of a line: what it costs to pass one read of a socket from one actor to the next.

Real mailboxes between real actors, whose work is trivial: *handed off* has the receiver's turn run
on the sender's stack (``Settings.hand_off``, as a farm runs), *woken* has its task run. Beside them
bare channels, which carry the same items and know of no bytes, losses, redelivery or accounts: the
memory channels of Trio, and the queues of asyncio.

In a *flood* the sender puts and gives way, again and again. *Paced*, the next item comes when the
last has arrived, by a byte through a socket, so that each finds everybody asleep: that wake of the
sender is in the figures, and *no hop* shows it by itself. To a subscriber everything is woken. All
figures are CPU time, which other processes disturb less.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import attrs
import trio
import trio.testing

from benchmarks.channel_hops import (
    Hop,
    Put,
    bundles,
    by_queues,
    by_trio_channels,
    frames,
    to_aggregator,
    to_parser,
    to_subscriber,
    whole_line,
)
from benchmarks.console import command_line
from benchmarks.result import Case, Figure, Report
from benchmarks.rounds import in_rounds

__all__ = ["main", "run"]

SIZES = (1, 10, 100, 1_000)
HANDED, WOKEN, CALLED = "farm, handed off", "farm, woken", "no hop"
TRIO, ASYNCIO = "trio memory channel", "asyncio.Queue"


@attrs.frozen
class Way:
    """One or several hops: the items that go there, how many channels they pass, and the hops of
    farm by name."""

    name: str
    items: Callable[[int, int], list[Any]]
    channels: int
    hops: dict[str, Hop]


WAYS = [
    Way("connection > parser", frames, 1, {HANDED: to_parser(True), WOKEN: to_parser(False)}),
    Way(
        "parser > aggregator",
        bundles,
        1,
        {HANDED: to_aggregator(True), WOKEN: to_aggregator(False)},
    ),
    Way("hub > subscriber", bundles, 1, {WOKEN: to_subscriber}),
    Way(
        "connection > parser > aggregator > hub > subscriber",
        frames,
        3,
        {HANDED: whole_line(True), WOKEN: whole_line(False)},
    ),
]


def run(rounds: int, quick: bool) -> Report:
    """Every way, in a flood and paced; single messages and reads of a thousand, and those between
    for the whole line."""
    count = 200 if quick else 3_000
    cases = [
        _case(way, size, paced, count, rounds)
        for way in WAYS
        for size in ((1,) if quick else SIZES if way is WAYS[-1] else (SIZES[0], SIZES[-1]))
        for paced in (False, True)
    ]
    return Report("channels", "Hops between actors", cases)


def _case(way: Way, size: int, paced: bool, count: int, rounds: int) -> Case:
    items = way.items(count, size)
    runs: dict[str, Callable[[list[Any]], Run]] = {
        name: partial(by_trio, hop, paced) for name, hop in way.hops.items()
    }
    runs[TRIO] = partial(by_trio, by_trio_channels(way.channels, size), paced)
    runs[ASYNCIO] = partial(by_asyncio, way.channels, size, paced)
    if paced:
        runs[CALLED] = partial(by_trio, by_trio_channels(0, size), paced)
    delivered = {name: one(items).events / (count * size) for name, one in runs.items()}

    def seconds(one: Callable[[list[Any]], Run]) -> Callable[[], float]:
        return lambda: one(items).seconds / count * 1e9

    values = in_rounds({name: seconds(one) for name, one in runs.items()}, rounds)
    figures = [Figure(name, values[name], delivered[name]) for name in runs]
    for figure in figures:
        figure.extra["ns an event"] = figure.median / size
    pace = "paced" if paced else "flood"
    case = Case(f"{way.name}, {pace}, {size:,} a read", "CPU ns a read", figures)
    if HANDED in runs:
        case.aim(HANDED, WOKEN, 1.0)
    return case


# ----------------------------------------------------------------------------------------- driving
class Run:
    """One run: what arrived, and the CPU time it took. Paced, each arrival is told by a byte."""

    def __init__(self, count: int, paced: bool) -> None:
        self.items = self.events = 0
        self.seconds = 0.0
        self.on_all: Callable[[], object] = lambda: None
        self._count = count
        self._bell: socket.socket | None = None
        self._paced = paced

    def done(self, events: int) -> None:
        """An item arrived."""
        self.items += 1
        self.events += events
        if self.items == self._count:
            self.on_all()
        elif self._bell is not None:
            os.write(self._bell.fileno(), b"x")

    @contextmanager
    def bell(self) -> Iterator[socket.socket]:
        """What can be read when an item is to be sent."""
        ringing, heard = socket.socketpair()
        with ringing, heard:
            heard.setblocking(False)
            ringing.send(b"x")
            self._bell = ringing if self._paced else None
            yield heard

    @contextmanager
    def timed(self) -> Iterator[None]:
        start = time.process_time()
        yield
        self.seconds = time.process_time() - start


def by_trio(hop: Hop, paced: bool, items: Sequence[Any]) -> Run:
    """Have the items pass a hop, in a Trio of its own."""
    one = Run(len(items), paced)
    trio.run(_drive, hop, one, items, paced)
    return one


async def _drive(hop: Hop, one: Run, items: Sequence[Any], paced: bool) -> None:
    arrived = trio.Event()
    one.on_all = arrived.set
    with one.bell() as bell:
        async with trio.open_nursery() as nursery:
            put = hop(nursery, one.done)
            await trio.testing.wait_all_tasks_blocked()
            with one.timed():
                for item in items:
                    if paced:
                        await trio.lowlevel.wait_readable(bell)
                        os.read(bell.fileno(), 1)
                    else:
                        await trio.lowlevel.checkpoint()
                    put(item)
                await arrived.wait()
            nursery.cancel_scope.cancel()


def by_asyncio(channels: int, size: int, paced: bool, items: Sequence[Any]) -> Run:
    """Have the items pass so many queues, in a loop of asyncio."""
    one = Run(len(items), paced)
    asyncio.run(_drive_asyncio(channels, size, one, items, paced))
    return one


async def _drive_asyncio(
    channels: int, size: int, one: Run, items: Sequence[Any], paced: bool
) -> None:
    arrived = asyncio.Event()
    one.on_all = arrived.set
    loop = asyncio.get_running_loop()
    with one.bell() as bell:
        async with asyncio.TaskGroup() as tasks:
            put = by_queues(tasks, channels, size, one.done)
            await asyncio.sleep(0)
            with one.timed():
                if paced:
                    loop.add_reader(bell, _put_next, bell, iter(items), put)
                else:
                    for item in items:
                        await asyncio.sleep(0)
                        put(item)
                await arrived.wait()
            loop.remove_reader(bell)
            put(None)


def _put_next(bell: socket.socket, items: Iterator[Any], put: Put) -> None:
    os.read(bell.fileno(), 1)
    with suppress(StopIteration):
        put(next(items))


def main(arguments: Sequence[str] | None = None) -> None:
    command_line("channels", __doc__, run, arguments)


if __name__ == "__main__":
    main()
