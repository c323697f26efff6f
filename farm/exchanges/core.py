"""What the protocol cores of all venues share: routing frames to parsers, keeping the record.

A venue adds three things: how it finds the stream in a frame, its control messages, and parsers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import attrs
import msgspec

from farm.batch import Batch, Origin
from farm.bundle import Bundle, UnparsedFrame
from farm.entities import Event, Gap
from farm.exchanges.numbers import Parser
from farm.exchanges.outages import Outages, stream_gap
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import (
    Closed,
    Command,
    FetchSnapshot,
    Finished,
    Frames,
    Input,
    Lost,
    Opened,
    Reconnect,
    SendText,
    SnapshotReply,
    StreamState,
    StreamStatus,
    Tick,
)
from farm.exchanges.streams import BookProcedure, Stream
from farm.exchanges.subscriptions import Request, Subscriptions
from farm.types import DataType, GapCause, Nanoseconds, NumberMode

__all__ = ["MALFORMED", "PARSE_ERRORS", "CoreSession", "Harvest", "Route"]

MALFORMED = "malformed"
"""The kind of frames that are no valid message of the stream they came on."""

PARSE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, OverflowError)
"""What a frame may raise in its parser; anything else is a bug of ours."""


@attrs.define(eq=False)
class Route:
    """Where the frames of a stream go. ``live`` saves looking at the status for every frame."""

    stream: Stream
    status: StreamStatus
    parse: Parser
    slot: int
    live: bool = False


# Where the rows of each kind stand in a harvest: a list is quicker than a dict by enumeration.
_SLOTS = {kind: slot for slot, kind in enumerate(DataType)}
_BOOK_SLOT, _GAP_SLOT = _SLOTS[DataType.BOOK], _SLOTS[DataType.GAP]


class Harvest:
    """What one input gave: rows by kind, in order, and what could not be parsed."""

    __slots__ = ("rows", "unparsed")

    def __init__(self) -> None:
        self.rows: list[list[Any]] = [[] for _ in _SLOTS]
        self.unparsed: list[UnparsedFrame] = []

    def gaps(self, gaps: Iterable[Gap]) -> None:
        self.rows[_GAP_SLOT].extend(gaps)


class CoreSession(ABC):
    """The protocol core of one connection: see :class:`~farm.exchanges.session.Session`.

    ``connection`` names it; ``discover`` makes a route for every stream of the market that frames
    name, for recordings, which say nothing of what was subscribed.
    """

    def __init__(
        self,
        rules: MarketRules,
        streams: Sequence[Stream],
        *,
        connection: str,
        numbers: NumberMode = NumberMode.FLOAT,
        discover: bool = False,
    ) -> None:
        self.rules = rules
        self.statuses: dict[str, StreamStatus] = {}
        self.unknown_values: dict[str, int] = Counter()
        self._numbers = numbers
        self._discover = discover
        self._routes: dict[bytes, Route] = {}
        self._commands: list[Command] = []
        self._origin = Origin(rules.exchange, rules.market, connection, 0)
        self._epoch = 0
        self._open = False
        self._ordinal = 0
        self._now = 0.0
        self._last_time: Nanoseconds = 0
        # The record of outages that the last input ended. It can be made only once, so it is kept
        # for the case that the input is delivered again.
        self._recorded: list[Gap] = []
        self._last_serial = 0
        self._outages = Outages(self.statuses)
        self._subscriptions = Subscriptions(
            self.statuses, chunk=rules.topics_per_request, send=self._send_request
        )
        for stream in streams:
            self._add(stream)

    # ------------------------------------------------------------------ what a venue says of itself
    @abstractmethod
    def _parser(self, stream: Stream) -> Parser:
        """The parser of a stream's frames."""

    @abstractmethod
    def _stream_name(self, raw: bytes) -> bytes | None:
        """The stream that a frame names, if it names one; may raise for malformed frames."""

    @abstractmethod
    def _request_text(self, request: Request) -> str:
        """A subscribe or unsubscribe request as the venue wants it."""

    @abstractmethod
    def _control(self, raw: bytes, time: Nanoseconds, harvest: Harvest) -> str | None:
        """Take a frame that is no stream's: None if understood, else the name of its type."""

    @abstractmethod
    def _unknown_kind(self, raw: bytes) -> str | None:
        """The type that a frame names, where its stream's parser knows no such type."""

    @abstractmethod
    def _tick(self, now: float) -> None:
        """Heartbeats of the venue's own, if it has any."""

    def _snapshot_request(self, stream: Stream) -> FetchSnapshot:
        raise LookupError(f"{stream.feed} has no snapshots by REST")

    def _parse_snapshot(self, item: SnapshotReply, rows: list[Any]) -> None:  # noqa: ARG002
        raise ValueError(f"{item.stream.feed} has no snapshots by REST")

    # ---------------------------------------------------------------------------------- the verbs
    def take_commands(self) -> list[Command]:
        """What is to be done now; empties the list."""
        commands, self._commands = self._commands, []
        return commands

    def resync(self, stream: Stream) -> None:
        """Ask for what the book of `stream` needs to start anew; other streams are untouched."""
        if stream.procedure is BookProcedure.SNAPSHOT_BY_REST:
            self._commands.append(self._snapshot_request(stream))
        elif self._subscriptions.is_asked_for(stream.name):
            return  # it is under way already, perhaps behind many others
        elif self.statuses[stream.name].state in (StreamState.LIVE, StreamState.ACKNOWLEDGED):
            self._subscriptions.unsubscribe([stream.name], self._now)
            self._subscriptions.subscribe([stream.name], self._now)
            self._routes[stream.name.encode()].live = False

    def handle(self, item: Input) -> Bundle | None:
        """Take one input; what it gave, or None."""
        harvest = Harvest()
        if item.serial and item.serial == self._last_serial:
            harvest.gaps(self._recorded)  # delivered again after a crash
        else:
            self._recorded = []
        self._last_serial = item.serial
        time, ended = self._last_time, None
        match item:
            case Frames():
                time = item.time
                self._frames(item, harvest)
            case SnapshotReply():
                time = item.time
                self._snapshot(item, harvest)
            case Tick():
                self._on_tick(item)
                return None
            case Opened():
                ended = self._on_opened(item)
                if ended is None:
                    return None
            case Closed():
                if item.epoch != self._epoch or item.intended:
                    return None
                time, ended = item.time, item.reason
                self._open = False
                self._outages.closed(self._last_time)
                for route in self._routes.values():
                    route.live = False
            case Lost():
                time = item.end
                harvest.gaps(self._outages.lost(item, self._ordinal))
            case Finished():
                time = item.time
                self._record(self._outages.finished(item.time, self._ordinal), harvest)
        return self._bundle(harvest, item, time, ended)

    # ------------------------------------------------------------------------------------- inputs
    def _on_opened(self, item: Opened) -> str | None:
        """A new epoch; why the one before ended, if that was never processed."""
        missed = "its end was never processed" if self._open else None
        if missed:
            self._outages.closed(self._last_time)
        self._epoch = item.epoch
        self._open = True
        self._origin = attrs.evolve(self._origin, epoch=item.epoch)
        self._ordinal = 0
        self._now = item.now
        self._last_time = item.time
        self._commands.clear()  # they were meant for the connection before
        self._outages.opened(item.time)
        self._subscriptions.opened()
        for route in self._routes.values():
            route.live = False
        self._subscriptions.subscribe(list(self.statuses), item.now)
        return missed

    def _on_tick(self, item: Tick) -> None:
        if item.epoch > self._epoch:  # its opening was quarantined: nothing is subscribed
            self._commands.append(Reconnect(item.epoch, "the opening was never processed"))
        if item.epoch != self._epoch:
            return
        self._now = item.now
        overdue = self._subscriptions.overdue(item.now)
        if overdue:
            names = ", ".join(overdue[0].names[:3])
            self._commands.append(Reconnect(self._epoch, f"no answer to the request for {names}"))
            return
        self._tick(item.now)

    def _frames(self, item: Frames, harvest: Harvest) -> None:
        time, ordinal, routes, rows = item.time, item.first_ordinal, self._routes, harvest.rows
        stream_name = self._stream_name
        for raw in item.frames:
            try:
                name = stream_name(raw)
                route = routes.get(name) if name is not None else None
                if route is None:
                    self._other(name, raw, time, ordinal, harvest)
                else:
                    if not route.live:
                        self._goes_live(route, time, ordinal, harvest)
                    route.parse(raw, route.stream, time, ordinal, rows[route.slot])
                    route.status.frames += 1
                    route.status.last_time = time
            except PARSE_ERRORS as error:
                self._unparsed(raw, time, ordinal, error, harvest)
            ordinal += 1
        self._ordinal = ordinal - 1
        self._last_time = time

    def _snapshot(self, item: SnapshotReply, harvest: Harvest) -> None:
        if item.stream.name not in self.statuses:
            self._add(item.stream)
        try:
            self._parse_snapshot(item, harvest.rows[_BOOK_SLOT])
        except PARSE_ERRORS as error:
            self._keep(item.body, item.time, item.ordinal, MALFORMED, str(error), harvest)

    def _goes_live(self, route: Route, time: Nanoseconds, ordinal: int, harvest: Harvest) -> None:
        route.live = True
        route.status.state = StreamState.LIVE
        self._record(self._outages.back([route.status], time, ordinal), harvest)

    def _other(
        self, name: bytes | None, raw: bytes, time: Nanoseconds, ordinal: int, harvest: Harvest
    ) -> None:
        """A frame of no stream that has a route."""
        if name is None:
            self._ordinal = ordinal  # the place of what an answer shows
            unknown = self._control(raw, time, harvest)
            if unknown is not None:
                self._keep(raw, time, ordinal, unknown, "no message known here", harvest)
            return
        text = name.decode()
        stream = self.rules.streams.recognise(text) if self._discover else None
        if stream is None:
            kind = self._unknown_kind(raw) or text
            self._keep(raw, time, ordinal, kind, f"nobody asked for stream {text}", harvest)
            return
        route = self._add(stream)
        self._goes_live(route, time, ordinal, harvest)
        route.parse(raw, stream, time, ordinal, harvest.rows[route.slot])
        route.status.frames += 1
        route.status.last_time = time

    def _unparsed(
        self, raw: bytes, time: Nanoseconds, ordinal: int, error: Exception, harvest: Harvest
    ) -> None:
        """A frame raised in its parser: of an unknown type, or malformed and so quarantined."""
        name = unknown = None
        with suppress(*PARSE_ERRORS):
            name = self._stream_name(raw)
            unknown = self._unknown_kind(raw)
        self._keep(raw, time, ordinal, unknown or MALFORMED, str(error), harvest)
        route = self._routes.get(name) if name is not None else None
        if route is not None and unknown is None and not route.stream.shows_holes:
            harvest.gaps(
                [
                    stream_gap(
                        route.stream,
                        GapCause.QUARANTINE,
                        start=time,
                        end=time,
                        receive_time=time,
                        ordinal=ordinal,
                        edge="parser",
                        frames=1,
                    )
                ]
            )

    # ------------------------------------------------------------------------------------ helpers
    def _add(self, stream: Stream) -> Route:
        status = StreamStatus(stream)
        self.statuses[stream.name] = status
        route = Route(stream, status, self._parser(stream), _SLOTS[stream.data_type])
        self._routes[stream.name.encode()] = route
        return route

    def _acknowledged(self, request_id: str, time: Nanoseconds, harvest: Harvest) -> None:
        confirmed = self._subscriptions.acknowledged(request_id, self._now)
        self._record(self._outages.back(confirmed, time, self._ordinal), harvest)

    def _refused(self, request_id: str, reason: str, time: Nanoseconds, harvest: Harvest) -> None:
        failed = self._subscriptions.refused(request_id, reason, self._now)
        self._record(self._outages.refused(failed, time, self._ordinal), harvest)

    def _record(self, gaps: list[Gap], harvest: Harvest) -> None:
        harvest.gaps(gaps)
        self._recorded += gaps

    def _send_request(self, request: Request) -> None:
        self._send(self._request_text(request))

    def _send(self, text: str) -> None:
        self._commands.append(SendText(self._epoch, text))

    def _keep(
        self, raw: bytes, time: Nanoseconds, ordinal: int, kind: str, why: str, harvest: Harvest
    ) -> None:
        harvest.unparsed.append(UnparsedFrame(self._origin, time, ordinal, kind, why, raw))

    def _bundle(
        self, harvest: Harvest, item: Input, time: Nanoseconds, ended: str | None
    ) -> Bundle | None:
        filled = [rows for rows in harvest.rows if rows]
        for row, gap in enumerate(harvest.rows[_GAP_SLOT]):
            gap.row = row
        if not filled and not harvest.unparsed and ended is None:
            return None
        total = sum(len(rows) for rows in filled)
        batches = [self._batch(rows, item.nbytes * len(rows) // total) for rows in filled]
        return Bundle(
            self._origin, item.serial, time, batches, harvest.unparsed, ended, item.nbytes
        )

    def _batch(self, rows: list[Event], nbytes: int) -> Batch[Any]:
        return Batch(
            type(rows[0]),
            rows=rows,
            origins=[(self._origin, len(rows))],
            numbers=self._numbers,
            nbytes=nbytes,
        )
