"""Parts of a line for the tests of its actors: inputs of a Binance connection, and mailboxes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, TypeVar

import trio

from farm.actors.connection import is_droppable, lose_inputs
from farm.actors.losses import lose_bundles
from farm.actors.mailbox import Mailbox, Overflow, Weighty
from farm.actors.supervisor import Actor, Health, Policy, Supervisor
from farm.bundle import Bundle
from farm.entities import Event, Gap, Trade
from farm.errors import ConnectionLost, StorageFailed
from farm.exchanges.registry import make_session
from farm.exchanges.session import (
    Closed,
    Finished,
    Frames,
    Input,
    Opened,
    Session,
    SnapshotAsked,
    SnapshotReply,
)
from tests.exchanges.feeding import BINANCE_SPOT, text

SECOND = 1_000_000_000

T = TypeVar("T", bound=Weighty)
E = TypeVar("E", bound=Event)


def session(*specs: str, symbols: tuple[str, ...] = ("BTCUSDT",), connection: str = "c") -> Session:
    streams = [BINANCE_SPOT.streams.stream(symbol, spec) for spec in specs for symbol in symbols]
    return make_session(BINANCE_SPOT, streams, connection=connection)


class Inputs:
    """What a connection would put into its parser's mailbox, read after read, a second apart.

    Those of several connections take place between each other if they share a `clock`.
    """

    def __init__(self, clock: Iterator[int] | None = None) -> None:
        self.items: list[Input] = []
        self._clock = count(1) if clock is None else clock
        self._epoch = 0
        self._ordinal = 0
        self._requests = 0

    def _add(self, item: Input) -> None:
        item.serial = len(self.items) + 1
        self.items.append(item)

    def _time(self) -> int:
        return next(self._clock) * SECOND

    def open(self) -> Inputs:
        """An epoch in which everything that was asked for is granted."""
        self._epoch += 1
        self._ordinal = 0
        self._add(Opened(self._epoch, self._time(), 0.0))
        self._requests += 1
        return self.read(text({"result": None, "id": self._requests}))

    def read(self, *frames: bytes) -> Inputs:
        size = sum(map(len, frames))
        self._add(Frames(self._epoch, self._time(), self._ordinal, list(frames), size))
        self._ordinal += len(frames)
        return self

    def ask(self, symbol: str = "BTCUSDT") -> Inputs:
        """The request for this book's snapshot goes out."""
        stream = BINANCE_SPOT.streams.stream(symbol, "book")
        self._add(SnapshotAsked(self._epoch, self._time(), stream))
        return self

    def snapshot(self, body: bytes, symbol: str = "BTCUSDT") -> Inputs:
        stream = BINANCE_SPOT.streams.stream(symbol, "book")
        self._add(SnapshotReply(self._epoch, self._time(), self._ordinal, stream, body, len(body)))
        self._ordinal += 1
        return self

    def close(self) -> Inputs:
        self._add(Closed(self._epoch, self._time(), "reset by peer"))
        return self

    def finish(self) -> Inputs:
        """Nothing follows; what says so has a serial of its own."""
        self.items.append(Finished(self._time()))
        return self


def input_box(hand_off: bool = True) -> Mailbox[Input]:
    return Mailbox(
        "c connection>parser",
        lose=lose_inputs,
        droppable=is_droppable,
        max_bytes=10_000_000,
        hand_off=hand_off,
    )


def bundle_box(
    edge: str = "parser>aggregator", max_items: int = 100_000, hand_off: bool = True
) -> Mailbox[Bundle]:
    return Mailbox(
        edge,
        lose=lose_bundles(edge),
        max_bytes=10_000_000,
        max_items=max_items,
        overflow=Overflow.BLOCK,
        hand_off=hand_off,
    )


async def supervise(*actors: Actor, intensity: int = 5) -> None:
    """Run actors to their end; crashes are met at once."""
    policy = Policy(backoff_initial=1e-9, intensity=intensity)
    supervisor = Supervisor(policy, weather=(ConnectionLost, StorageFailed))
    async with trio.open_nursery() as nursery:
        for actor in actors:
            nursery.start_soon(supervisor.run, actor)


async def cut_short(actor: Actor, rng: random.Random) -> bool:
    """Run an actor that is cancelled after a few turns of the scheduler; whether it was."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(actor.run, Health(lambda: None))
            for _ in range(rng.randrange(12)):
                await trio.lowlevel.checkpoint()
            scope.cancel()
    return scope.cancelled_caught


async def read_all(box: Mailbox[T]) -> list[T]:
    """Everything to the end of a mailbox."""
    return [item async for item in box.reader()]


def rows(kind: type[E], bundles: list[Bundle]) -> list[E]:
    return [
        row for bundle in bundles for batch in bundle.batches if batch.kind is kind for row in batch
    ]


def trade_ids(bundles: list[Bundle]) -> list[int]:
    return [int(trade.id) for trade in rows(Trade, bundles)]


def told(gaps: list[Gap]) -> list[tuple[str, str, str, int | None]]:
    """What tells one gap from another: the feed's kind and symbol, cause, edge, and size."""
    return [
        (gap.feed.removeprefix("binance/spot/"), gap.cause.value, gap.edge, gap.size)
        for gap in gaps
    ]


class Crashes:
    """A function that crashes on chosen serials, so often each, before or after its work."""

    def __init__(self, serials: dict[int, int], *, halfway: bool = False) -> None:
        self.left = dict(serials)
        self._halfway = halfway

    def call(self, work: Callable[[Any], Any], item: Any) -> Any:
        done = work(item) if self._halfway else None
        if self.left.get(item.serial):
            self.left[item.serial] -= 1
            raise ValueError(f"crash on {item.serial}")
        return done if self._halfway else work(item)
