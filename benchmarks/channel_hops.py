"""Hops between tasks: those of a line, with its real actors and trivial work, and bare channels.

A :data:`Hop` starts what reads in a nursery and gives the function by which an item is put in;
what reads calls ``done`` for each item, with its number of events.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

import trio

from farm.actors.aggregator import AggregatorActor
from farm.actors.connection import is_droppable, lose_inputs
from farm.actors.hub import Filter, Hub
from farm.actors.losses import lose_batches, lose_bundles
from farm.actors.mailbox import Mailbox, Overflow
from farm.actors.parser import ParserActor
from farm.actors.supervisor import Health
from farm.batch import Batch, Origin
from farm.books.keeper import BookKeeper
from farm.bundle import Bundle
from farm.entities import Quote
from farm.exchanges.continuity import TradeContinuity
from farm.exchanges.lanes.merger import LaneMerger
from farm.exchanges.session import Command, Frames, Input, StreamStatus
from farm.exchanges.streams import Stream
from farm.monitor.feeds import FeedCounters
from farm.types import Exchange, Market

__all__ = ["Done", "Hop", "Put", "bundles", "by_queues", "by_trio_channels", "frames"]
__all__ += ["to_aggregator", "to_parser", "to_subscriber", "whole_line"]

Put: TypeAlias = Callable[[Any], object]
Done: TypeAlias = Callable[[int], None]
Hop: TypeAlias = Callable[[trio.Nursery, Done], Put]

ROOM = 2**40
"""Bytes; nothing is ever dropped here."""

ORIGIN = Origin(Exchange.BINANCE, Market.SPOT, "c", 1)


# ------------------------------------------------------------------------------------------- items
def frames(count: int, size: int) -> list[Any]:
    """So many reads of a socket, of so many messages each."""
    messages = [b"x" * 120] * size
    return [Frames(1, 1, 0, messages, 120 * size, serial) for serial in range(1, count + 1)]


def bundles(count: int, size: int) -> list[Any]:
    """What a parser makes of such reads."""
    batch = _quotes(size)
    return [Bundle(ORIGIN, serial, 1, [batch], nbytes=120) for serial in range(1, count + 1)]


def _quotes(size: int) -> Batch[Quote]:
    rows = [
        Quote(Exchange.BINANCE, Market.SPOT, "BTCUSDT", 1.0, 2.0, 3.0, 4.0, number, 1, 1, 1, number)
        for number in range(size)
    ]
    return Batch(Quote, rows=rows, origins=[(ORIGIN, size)], nbytes=120 * size)


class _Core:
    """A protocol core that looks at nothing: `answer` makes what it gives."""

    def __init__(self, answer: Callable[[Any], Bundle | None]) -> None:
        self.statuses: dict[str, StreamStatus] = {}
        self.unknown_values: Counter[str] = Counter()
        self.foreign: Counter[str] = Counter()
        self._answer = answer

    def handle(self, item: Input) -> Bundle | None:
        return self._answer(item)

    def take_commands(self) -> list[Command]:
        return []

    def resync(self, stream: Stream, need: int = 0) -> None:
        raise NotImplementedError


# ---------------------------------------------------------------------------------- hops of a line
def to_parser(hand_off: bool) -> Hop:
    """From a connection to its parser."""

    def hop(nursery: trio.Nursery, done: Done) -> Put:
        def answer(item: Any) -> None:
            done(len(item.frames))

        inbox = _input_box(hand_off)
        _run_parser(nursery, _Core(answer), inbox, _bundle_box(hand_off))
        return inbox.put

    return hop


def to_aggregator(hand_off: bool) -> Hop:
    """From a parser to the aggregator; who listens to what it publishes is called."""

    def hop(nursery: trio.Nursery, done: Done) -> Put:
        inbox, hub = _bundle_box(hand_off), _hub()
        hub.listen(lambda bundle: done(len(bundle.batches[0])))
        _run_aggregator(nursery, inbox, hub)
        return inbox.put

    return hop


def to_subscriber(nursery: trio.Nursery, done: Done) -> Put:
    """From the hub to a task that reads batches: it is always woken."""
    hub = _hub()
    _subscribe(nursery, hub, done)
    return hub.publish.offer


def whole_line(hand_off: bool) -> Hop:
    """From a connection by parser, aggregator and hub to a subscriber."""

    def hop(nursery: trio.Nursery, done: Done) -> Put:
        inputs, bundles, hub = _input_box(hand_off), _bundle_box(hand_off), _hub()
        made: dict[int, Batch[Quote]] = {}

        def answer(item: Any) -> Bundle:
            size = len(item.frames)
            batch = made.get(size) or made.setdefault(size, _quotes(size))
            return Bundle(ORIGIN, item.serial, item.time, [batch], nbytes=item.nbytes)

        _subscribe(nursery, hub, done)
        _run_aggregator(nursery, bundles, hub)
        _run_parser(nursery, _Core(answer), inputs, bundles)
        return inputs.put

    return hop


def _input_box(hand_off: bool) -> Mailbox[Input]:
    return Mailbox(
        "connection>parser",
        lose=lose_inputs,
        droppable=is_droppable,
        max_bytes=ROOM,
        hand_off=hand_off,
    )


def _bundle_box(hand_off: bool) -> Mailbox[Bundle]:
    return Mailbox(
        "parser>aggregator",
        lose=lose_bundles("parser>aggregator"),
        max_bytes=ROOM,
        overflow=Overflow.BLOCK,
        hand_off=hand_off,
    )


def _hub() -> Hub:
    return Hub(FeedCounters(), lambda _frames: None)


def _subscribe(nursery: trio.Nursery, hub: Hub, done: Done) -> None:
    box: Mailbox[Batch[Any]] = Mailbox("reader", lose=lose_batches("reader"), max_bytes=ROOM)
    hub.subscribe(Filter(frozenset({Quote})), box)

    async def read() -> None:
        with box.reader() as reader:
            async for batch in reader:
                done(len(batch))

    nursery.start_soon(read)


def _run_parser(
    nursery: trio.Nursery, core: _Core, inbox: Mailbox[Input], outbox: Mailbox[Bundle]
) -> None:
    def on_commands() -> None:
        core.take_commands()

    parser = ParserActor("parser", core, inbox, outbox, on_commands, lambda: None)
    nursery.start_soon(parser.run, Health(lambda: None))


def _run_aggregator(nursery: trio.Nursery, inbox: Mailbox[Bundle], hub: Hub) -> None:
    def no_streams() -> list[Stream]:
        return []

    merger = LaneMerger(no_streams)
    merger.add(ORIGIN.connection)
    actor = AggregatorActor(
        "aggregator",
        BookKeeper(no_streams, lambda _stream, _need: None),
        merger,
        TradeContinuity(no_streams),
        inbox,
        hub.publish,
        lambda: None,
    )
    nursery.start_soon(actor.run, Health(lambda: None))


# ----------------------------------------------------------------------------------- bare channels
def by_trio_channels(hops: int, size: int) -> Hop:
    """So many memory channels one after the other, whose tasks pass items on and do no more."""

    def hop(nursery: trio.Nursery, done: Done) -> Put:
        async def carry(source: trio.MemoryReceiveChannel[Any], put: Put) -> None:
            async for item in source:
                put(item)

        put: Put = lambda _item: done(size)  # noqa: E731 (as the others are)
        for _ in range(hops):
            send, receive = trio.open_memory_channel[Any](100_000)
            nursery.start_soon(carry, receive, put)
            put = send.send_nowait
        return put

    return hop


def by_queues(tasks: asyncio.TaskGroup, hops: int, size: int, done: Done) -> Put:
    """The same with asyncio: queues without bound."""

    async def carry(source: asyncio.Queue[Any], put: Put) -> None:
        while (item := await source.get()) is not None:
            put(item)
        put(None)

    def last(item: Any) -> None:
        if item is not None:
            done(size)

    put: Put = last
    for _ in range(hops):
        queue: asyncio.Queue[Any] = asyncio.Queue()
        tasks.create_task(carry(queue, put))
        put = queue.put_nowait
    return put
