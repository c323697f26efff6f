"""Replay: the records of a recording as the inputs of protocol cores. Pure: it only reads a file.

The first stage of the line is swapped, nothing else: what follows is what runs live.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import attrs

from farm.errors import RecordingError
from farm.exchanges.registry import MARKETS, rules_of
from farm.exchanges.session import Closed, Frames, Input, Opened, SnapshotReply, StreamStatus
from farm.exchanges.streams import Stream
from farm.storage.capture import CaptureEvent, CaptureRecord, capture_market, read_capture
from farm.types import Exchange, Market, Nanoseconds

__all__ = ["Replay", "ReplayedLine"]

log = logging.getLogger("farm.replay")

END_OF_RECORDING = "end of recording"


@attrs.define(eq=False)
class ReplayedLine:
    """One connection of a recording, on its way into a line of the pipeline."""

    name: str
    exchange: Exchange
    market: Market
    statuses: dict[str, StreamStatus] = attrs.field(factory=dict)
    epoch: int = 0
    ordinal: int = 0
    serial: int = 0
    time: Nanoseconds = 0

    def number(self, item: Input) -> Input:
        """Give an input its place in the order of its connection."""
        self.serial += 1
        item.serial = self.serial
        return item


class Replay:
    """The inputs of a recording, in order.

    Session files name their markets; `market` is that of files which don't. `open_line` is called
    once for each connection, and must fill its ``statuses``, by which a snapshot without an address
    finds its book. ``ignored`` counts HTTP answers that are no book snapshots.
    """

    def __init__(
        self,
        path: Path,
        market: tuple[Exchange, Market] | None,
        open_line: Callable[[ReplayedLine], None],
    ) -> None:
        self.path = path
        self.frames = self.ignored = 0
        self.time: Nanoseconds | None = None
        self._open_line = open_line
        self._market = market
        self._lines: dict[str, ReplayedLine] = {}

    def inputs(self) -> Iterator[tuple[ReplayedLine, Input]]:
        """Everything that the protocol cores are to be given. RecordingError as
        :func:`~farm.storage.capture.read_capture`, and where a market is unknown or not spoken."""
        for record in read_capture(self.path):
            self.time = record.time
            match record.event:
                case CaptureEvent.RECEIVED:
                    line = self._line(record)
                    if not line.epoch:
                        yield self._opened(line, record.time)
                    yield self._frame(line, record)
                case CaptureEvent.CONNECT:
                    line = self._line(record)
                    if line.epoch:
                        closed = Closed(line.epoch, record.time, "connected again")
                        yield line, line.number(closed)
                    yield self._opened(line, record.time)
                case CaptureEvent.REPLY:
                    yield from self._reply(record)
                case CaptureEvent.SENT:
                    pass

    def _opened(self, line: ReplayedLine, time: Nanoseconds) -> tuple[ReplayedLine, Input]:
        line.epoch += 1
        line.ordinal = 0
        return line, line.number(Opened(line.epoch, time, 0.0))

    def _frame(self, line: ReplayedLine, record: CaptureRecord) -> tuple[ReplayedLine, Input]:
        self.frames += 1
        line.time = record.time
        size = len(record.text)
        item = Frames(line.epoch, record.time, line.ordinal, [record.text], size)
        line.ordinal += 1
        return line, line.number(item)

    def _reply(self, record: CaptureRecord) -> Iterator[tuple[ReplayedLine, Input]]:
        if b'"lastUpdateId"' not in record.text[:200]:
            self.ignored += 1
            return
        found = self._book(record)
        if found is None:
            self.ignored += 1
            where = record.url or "without an address"
            log.warning("%s: a snapshot of no book that is replayed, %s", self.path, where)
            return
        line, stream = found
        size = len(record.text)
        reply = SnapshotReply(line.epoch, record.time, line.ordinal, stream, record.text, size)
        line.ordinal += 1
        yield line, line.number(reply)

    def _book(self, record: CaptureRecord) -> tuple[ReplayedLine, Stream] | None:
        """The book that a snapshot belongs to: by its address, or because there is only one."""
        market = capture_market(record.url) if record.url else self._market
        lines = [line for line in self._lines.values() if (line.exchange, line.market) == market]
        books = [
            (line, status.stream)
            for line in lines
            for status in line.statuses.values()
            if (procedure := status.stream.procedure) is not None and procedure.needs_rest
        ]
        symbol = parse_qs(urlsplit(record.url).query).get("symbol", [None])[0]
        if symbol is None:
            return books[0] if len(books) == 1 else None
        known = [(line, stream) for line, stream in books if stream.symbol == symbol]
        if known or not lines:
            return known[0] if known else None
        # No diff has come yet: the stream is known by the address alone.
        return lines[0], rules_of(lines[0].exchange, lines[0].market).streams.stream(symbol, "book")

    def _line(self, record: CaptureRecord) -> ReplayedLine:
        line = self._lines.get(record.connection)
        if line is None:
            market = capture_market(record.url) if record.url else self._market
            if record.url and self._market not in (None, market):
                log.warning("%s: %s is what the file says it is", self.path, record.url)
            if market not in MARKETS:
                raise RecordingError(f"{self.path}: {_unspoken(market)}")
            line = ReplayedLine(record.connection.replace(" ", "_"), *market)
            self._open_line(line)
            self._lines[record.connection] = line
        return line


def _unspoken(market: tuple[Exchange, Market] | None) -> str:
    known = ", ".join(rules.key for rules in MARKETS.values())
    if market is None:
        return f"it does not say which market it is of; name its exchange and market: {known}"
    return f"{market[0].value}/{market[1].value} is not spoken here; these are: {known}"
