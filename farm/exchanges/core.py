"""What the protocol cores of all venues share: routing frames to parsers, keeping the record.

A venue adds three things: how it finds the stream in a frame, its control messages, and parsers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import ClassVar

import attrs

from farm.batch import Origin
from farm.bundle import Bundle, UnparsedFrame
from farm.entities import Gap
from farm.exchanges.harvest import MALFORMED, PARSE_ERRORS, SLOTS, Harvest, Route
from farm.exchanges.liveness import Judgement, Liveness
from farm.exchanges.numbers import Parser, ParserContext
from farm.exchanges.outages import Outages, stream_gaps
from farm.exchanges.reads import Reads
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import (
    Closed,
    Command,
    FetchSnapshot,
    Finished,
    ForgetSnapshot,
    Frames,
    Input,
    Lost,
    Opened,
    Reconnect,
    SendText,
    SnapshotAsked,
    SnapshotReply,
    StreamState,
    StreamStatus,
    Subscribe,
    Tick,
    Unsubscribe,
)
from farm.exchanges.streams import REST_ROUTE, Stream
from farm.exchanges.subscriptions import Request, Subscriptions
from farm.types import GapCause, Nanoseconds, NumberMode

__all__ = ["CoreSession"]

RETRY_REFUSED = 600.0
"""Seconds after which refused streams are asked for again."""

MOST_CHARACTERS = 200
"""Of the name of an unknown kind, and of what is wrong with a frame: both may quote all of it."""


class CoreSession(ABC):
    """The protocol core of one connection: see :class:`~farm.exchanges.session.Session`.

    ``connection`` names it; ``discover`` makes a route for every stream of the market that frames
    name, for recordings, which say nothing of what was subscribed. ``microseconds``: the venue was
    asked for such times. ``snapshot_levels``: the depth of REST snapshots (None: the market's).
    """

    start: ClassVar[bytes]
    """How the venue's frames of streams begin, up to the name of the stream."""

    def __init__(
        self,
        rules: MarketRules,
        streams: Sequence[Stream],
        *,
        connection: str,
        numbers: NumberMode = NumberMode.FLOAT,
        discover: bool = False,
        microseconds: bool = False,
        snapshot_levels: int | None = None,
    ) -> None:
        self.rules = rules
        self.statuses: dict[str, StreamStatus] = {}
        self.snapshot_levels = snapshot_levels or rules.snapshot_limit
        self._context = ParserContext(numbers, microseconds, rules.universe)
        self.unknown_values: Counter[str] = self._context.unknown
        self.foreign = self._context.foreign
        self._numbers = numbers
        self._discover = discover
        self._resyncs: dict[str, None] = {}  # topics to be subscribed anew
        self._leaving: set[str] = set()  # unsubscribed, and perhaps on the way still
        self._routes: dict[bytes, Route] = {}
        self._reads = Reads(self.start)
        self._commands: list[Command] = []
        self._origin = Origin(rules.exchange, rules.market, connection, 0)
        self._epoch = 0
        self._open = False
        self._ordinal = 0
        self._retried_at = 0.0  # when refused streams were asked for again
        self._now = 0.0
        self._last_time: Nanoseconds = 0
        self._unplaced = 0  # malformed frames of this input of which no stream can be told
        # The record of outages that the last input ended, and what else it told. That can be made
        # only once, so it is kept for the case that the input is delivered again.
        self._recorded: list[Gap] = []
        self._harvest = Harvest()
        self._last_serial = 0
        self._outages = Outages(self.statuses)
        self._liveness = Liveness(self.statuses, can_list=rules.lists_subscriptions)
        self._subscriptions = Subscriptions(
            self.statuses, chunk=rules.topics_per_request, send=self._send_request
        )
        self._snapshots = self._snapshot_parser()
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
    def _snapshot_parser(self) -> Parser:
        """The parser of book snapshots that came by REST."""

    @abstractmethod
    def _snapshot_params(self, stream: Stream) -> tuple[tuple[str, str | int], ...]:
        """The parameters of a request for a snapshot of this book."""

    @abstractmethod
    def _tick(self, now: float) -> None:
        """Heartbeats of the venue's own, if it has any."""

    @abstractmethod
    def _ask_list(self) -> None:
        """Ask what the venue holds; called where the rules say that it can be asked."""

    def _is_notice(self, name: str) -> bool:  # noqa: ARG002
        """Take a frame that speaks of the connection under a stream's name; whether it does."""
        return False

    # ---------------------------------------------------------------------------------- the verbs
    def take_commands(self) -> list[Command]:
        """What is to be done now; empties the list."""
        if self._resyncs:
            # All that were asked for since the last look go in common requests.
            names = [name for name in self._resyncs if name in self.statuses]
            self._resyncs.clear()
            self._subscribe_anew(names)
        commands, self._commands = self._commands, []
        return commands

    def resync(self, stream: Stream, need: int = 0) -> None:
        """Ask for what the book of `stream` needs to start anew; other streams are untouched."""
        status = self.statuses.get(stream.name)
        if status is None:
            return  # it is collected no longer
        if stream.procedure is not None and stream.procedure.needs_rest:
            self._commands.append(self._snapshot_request(stream, need))
        elif self._subscriptions.is_asked_for(stream.name):
            return  # it is under way already, perhaps behind many others
        elif status.state in (StreamState.LIVE, StreamState.ACKNOWLEDGED):
            self._resyncs[stream.name] = None

    def handle(self, item: Input) -> Bundle | None:
        """Take one input; what it gave, or None."""
        harvest, before = Harvest(), self._harvest
        if item.serial and item.serial == self._last_serial:
            harvest.gaps(self._recorded)  # delivered again after a crash
            harvest.up, harvest.down, harvest.dropped = before.up, before.down, before.dropped
        else:
            self._recorded = []
        self._harvest = harvest
        self._last_serial = item.serial
        self._context.extras.clear()
        if isinstance(item, Tick):
            self._on_tick(item, harvest)
        if isinstance(item, Closed) and (item.epoch != self._epoch or item.intended):
            return None
        ended = self._take(item, harvest)
        if self._context.extras:
            harvest.take(self._context.extras)
        final = isinstance(item, Finished)
        if ended is None and harvest.is_empty and not final:
            return None
        return harvest.bundle(self._origin, item, self._numbers, ended, final=final)

    def _take(self, item: Input, harvest: Harvest) -> str | None:
        """Take an input that may give something; why an epoch ended, if it did."""
        match item:
            case Frames():
                self._frames(item, harvest)
            case SnapshotReply():
                self._rest_reply(item, harvest)
            case SnapshotAsked():
                harvest.asked = (item.stream.feed,)
            case Opened():
                return self._on_opened(item)
            case Closed():
                return self._on_closed(item)
            case Subscribe():
                self._on_subscribe(item.streams)
            case Unsubscribe():
                self._on_unsubscribe(item, harvest)
            case Lost():
                self._on_lost(item, harvest)
            case Finished():
                self._record(self._outages.finished(item.time, self._ordinal), harvest)
        return None

    # ------------------------------------------------------------------------------------- inputs
    def _on_closed(self, item: Closed) -> str:
        self._open = False
        self._outages.closed(self._last_time)
        self._all_quiet()
        return item.reason

    def _on_opened(self, item: Opened) -> str | None:
        """A new epoch; why the one before ended, if that was never processed."""
        again = item.epoch == self._epoch  # delivered again after a crash
        missed = "its end was never processed" if self._open and not again else None
        if missed:
            self._outages.closed(self._last_time)
        self._epoch = item.epoch
        self._open = True
        self._origin = attrs.evolve(self._origin, epoch=item.epoch)
        self._ordinal = 0
        self._now = self._retried_at = item.now
        self._last_time = item.time
        self._commands.clear()  # they were meant for the connection before
        self._resyncs.clear()
        self._leaving.clear()
        self._outages.opened(item.time)
        self._subscriptions.opened()
        self._liveness.opened(item.now)
        self._all_quiet()
        for route in self._routes.values():
            route.use(self._parser(route.stream))  # what it remembered was of another epoch
        self._subscribe([status.stream for status in self.statuses.values()])
        return missed

    def _on_lost(self, item: Lost, harvest: Harvest) -> None:
        harvest.gaps(self._outages.lost(item, self._ordinal))

    def _all_quiet(self) -> None:
        for route in self._routes.values():
            route.live = False

    def _subscribe(self, streams: Iterable[Stream]) -> None:
        """Ask for streams; those that are polled need no asking, and are up when they deliver."""
        for stream in streams:
            if stream.route == REST_ROUTE:
                self.statuses[stream.name].state = StreamState.REQUESTED
        self._subscriptions.subscribe(_names_of_topics(streams), self._now)

    def _subscribe_anew(self, names: Sequence[str]) -> None:
        """Unsubscribe and subscribe again: the venue starts these topics anew."""
        self._subscriptions.unsubscribe(names, self._now)
        self._subscriptions.subscribe(names, self._now)
        for name in names:
            self._routes[name.encode()].live = False

    def _on_subscribe(self, streams: Iterable[Stream]) -> None:
        new = [stream for stream in streams if stream.name not in self.statuses]
        for stream in new:
            self._leaving.discard(stream.name)
            self._add(stream)
        if self._open:
            self._subscribe(new)

    def _on_unsubscribe(self, item: Unsubscribe, harvest: Harvest) -> None:
        gone = [stream for stream in item.streams if stream.name in self.statuses]
        if self._open:
            self._subscriptions.unsubscribe(_names_of_topics(gone), self._now)
        down = [self.statuses[stream.name] for stream in gone]
        self._record(self._outages.back(down, item.time, self._ordinal), harvest)  # until now
        for stream in gone:
            if stream.procedure is not None and stream.procedure.needs_rest:
                self._commands.append(ForgetSnapshot(self._epoch, stream))
            self._leaving.add(stream.name)
            del self.statuses[stream.name]
            del self._routes[stream.name.encode()]
            self._reads.remove(stream)
        harvest.dropped += tuple(feed for stream in gone for feed in stream.feeds)

    def _on_tick(self, item: Tick, harvest: Harvest) -> None:
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
        if item.now - self._retried_at >= RETRY_REFUSED:
            self._retry_refused(item.now)
        self._execute(self._liveness.judge(item.now), harvest)

    def _retry_refused(self, now: float) -> None:
        """Ask again for what the venue refused: it may have been in trouble."""
        self._retried_at = now
        failed = [n for n, s in self.statuses.items() if s.state is StreamState.FAILED]
        if failed:
            self._subscriptions.subscribe(failed, now)

    def _execute(self, judgement: Judgement, harvest: Harvest) -> None:
        """Do what the judgement on the streams' life says."""
        names = judgement.resubscribe
        for name in names:
            self._outages.silent(self.statuses[name])
            harvest.down += self.statuses[name].stream.feeds
        if names:
            self._subscribe_anew(names)
        if judgement.ask_list:
            self._ask_list()
        if judgement.replace is not None:
            self._commands.append(Reconnect(self._epoch, judgement.replace))

    def _frames(self, item: Frames, harvest: Harvest) -> None:
        self._unplaced = 0
        singles = self._reads.take(item, harvest)
        if singles is None:
            self._one_by_one(item, harvest)
        else:
            for raw, route, ordinal in singles:
                try:
                    route.parse(raw, route.stream, item.time, ordinal, harvest.rows[route.slot])
                    route.status.frames += 1
                    route.status.last_time = item.time
                except PARSE_ERRORS as error:
                    self._unparsed(raw, item.time, ordinal, error, harvest)
        self._ordinal = item.first_ordinal + len(item.frames) - 1
        self._last_time = item.time
        if self._unplaced:
            harvest.gaps(self._outages.unplaced(self._unplaced, item.time, self._ordinal))

    def _one_by_one(self, item: Frames, harvest: Harvest) -> None:
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

    def _rest_reply(self, item: SnapshotReply, harvest: Harvest) -> None:
        stream = item.stream
        route = self._routes.get(stream.name.encode())
        if route is None:
            if not self._discover:
                return  # it is collected no longer
            route = self._add(stream)
        polled = stream.route == REST_ROUTE
        parse = route.parse if polled else self._snapshots
        try:
            parse(item.body, stream, item.time, item.ordinal, harvest.rows[route.slot])
        except PARSE_ERRORS as error:
            self._keep(item.body, item.time, item.ordinal, MALFORMED, str(error), harvest)
            if polled:
                self._quarantined(stream, item.time, item.ordinal, harvest)
            elif self._open:
                self._commands.append(self._snapshot_request(stream, 0, failed=True))
        else:
            if polled:
                if not route.live:
                    self._goes_live(route, item.time, item.ordinal, harvest)
                route.status.frames += 1
                route.status.last_time = item.time

    def _snapshot_request(
        self, stream: Stream, need: int, *, failed: bool = False
    ) -> FetchSnapshot:
        rules = self.rules
        params, weight = self._snapshot_params(stream), rules.snapshot_weight(self.snapshot_levels)
        path = rules.snapshot_path
        return FetchSnapshot(self._epoch, stream, path, params, weight, need, failed)

    def _goes_live(self, route: Route, time: Nanoseconds, ordinal: int, harvest: Harvest) -> None:
        route.live = True
        status = route.status
        is_silent = status.down_cause is GapCause.SILENCE
        if is_silent or status.state is not StreamState.ACKNOWLEDGED:
            harvest.up += status.stream.feeds
        status.state = StreamState.LIVE
        self._record(self._outages.back([status], time, ordinal), harvest)

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
        if text in self._leaving or self._is_notice(text):
            return
        stream = self.rules.streams.recognise(text) if self._discover else None
        if stream is not None and any(s.stream.feed == stream.feed for s in self.statuses.values()):
            self._keep(raw, time, ordinal, text, f"another stream of {stream.feed}", harvest)
            return
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
        self._unplaced += name is None and unknown is None
        route = self._routes.get(name) if name is not None else None
        if route is not None and unknown is None and not route.stream.shows_holes:
            self._quarantined(route.stream, time, ordinal, harvest)

    def _quarantined(
        self, stream: Stream, time: Nanoseconds, ordinal: int, harvest: Harvest
    ) -> None:
        harvest.gaps(
            stream_gaps(
                stream,
                GapCause.QUARANTINE,
                start=time,
                end=time,
                receive_time=time,
                ordinal=ordinal,
                edge="parser",
                frames=1,
            )
        )

    # ------------------------------------------------------------------------------------ helpers
    def _add(self, stream: Stream) -> Route:
        status = StreamStatus(stream)
        self.statuses[stream.name] = status
        route = Route(stream, status, self._parser(stream), SLOTS[stream.data_type])
        self._routes[stream.name.encode()] = route
        self._reads.add(route)
        return route

    def _acknowledged(self, request_id: str, time: Nanoseconds, harvest: Harvest) -> None:
        self._confirmed(self._subscriptions.acknowledged(request_id, self._now), time, harvest)

    def _confirmed(
        self, confirmed: Sequence[StreamStatus], time: Nanoseconds, harvest: Harvest
    ) -> None:
        for status in confirmed:
            status.acknowledged_at = time
            if status.down_cause is not GapCause.SILENCE:  # of which it proves nothing
                harvest.up += status.stream.feeds
        self._record(self._outages.acknowledged(confirmed, time, self._ordinal), harvest)

    def _refused(self, request_id: str, reason: str, time: Nanoseconds, harvest: Harvest) -> None:
        failed = self._subscriptions.refused(request_id, reason, self._now)
        self._failed(failed, time, harvest)

    def _failed(self, failed: Sequence[StreamStatus], time: Nanoseconds, harvest: Harvest) -> None:
        for status in failed:
            self._routes[status.stream.name.encode()].live = False
        self._record(self._outages.refused(failed, time, self._ordinal), harvest)

    def _record(self, gaps: list[Gap], harvest: Harvest) -> None:
        harvest.gaps(gaps)
        self._recorded += gaps

    def _send_request(self, request: Request) -> None:
        self._send(self._request_text(request))

    def _send(self, text: str, *, urgent: bool = False) -> None:
        self._commands.append(SendText(self._epoch, text, urgent))

    def _keep(
        self, raw: bytes, time: Nanoseconds, ordinal: int, kind: str, why: str, harvest: Harvest
    ) -> None:
        kind, why = kind[:MOST_CHARACTERS], why[:MOST_CHARACTERS]
        harvest.unparsed.append(UnparsedFrame(self._origin, time, ordinal, kind, why, raw))


def _names_of_topics(streams: Iterable[Stream]) -> list[str]:
    """The names of those streams that a socket carries."""
    return [stream.name for stream in streams if stream.route != REST_ROUTE]
