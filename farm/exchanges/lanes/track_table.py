"""The tracks of a line: found by kind and key, made when their first event comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from farm.entities import SpentIds, Trade, data_type_of, feed_of
from farm.exchanges.lanes.book_sequences import Diffs, Steps
from farm.exchanges.lanes.coverage import Coverage
from farm.exchanges.lanes.cut import Cut
from farm.exchanges.lanes.identity import Rule, Way, key_of, rule_of
from farm.exchanges.lanes.sequences import Sequence as IdSequence
from farm.exchanges.lanes.tracks import Newest, Track, Unique
from farm.exchanges.streams import BookProcedure, Scope, Stream
from farm.types import DataType, Nanoseconds

__all__ = ["TrackTable"]


class TrackTable:
    """One track for each feed, and mostly for each symbol of feeds that carry several."""

    def __init__(
        self,
        streams: Callable[[], Iterable[Stream]],
        coverage: Coverage,
        on_cut: Callable[[str, Nanoseconds], None],
    ) -> None:
        self._streams = streams
        self._coverage = coverage
        self._on_cut = on_cut
        self._by_kind: dict[type[Any], dict[Any, Track]] = {}
        self._by_feed: dict[str, list[Track]] = {}

    def of_kind(self, kind: type[Any]) -> dict[Any, Track]:
        """The tracks of a kind by key; spent ids are of the trades' tracks."""
        kind = Trade if kind is SpentIds else kind
        tracks = self._by_kind.get(kind)
        if tracks is None:
            tracks = self._by_kind[kind] = {}
        return tracks

    def of(self, feed: str) -> Sequence[Track]:
        """The tracks of a feed."""
        return self._by_feed.get(feed, ())

    def all(self) -> list[Track]:
        """Every track."""
        return [track for tracks in self._by_feed.values() for track in tracks]

    def make(self, row: Any) -> Track:
        """The track of an event that has none yet."""
        kind = Trade if type(row) is SpentIds else type(row)
        data_type = data_type_of(kind)
        stream = self._stream_of(row, data_type)
        feed = self._feed_on(stream, row, data_type)
        procedure = stream.procedure if stream is not None else None
        rule = rule_of(row.exchange, row.market, data_type, procedure)
        known = self._by_feed.setdefault(feed, [])
        # What has no identity passes by lanes, so all symbols of a stream share one track.
        track: Track | None = next((t for t in known if isinstance(t, Cut)), None)
        if track is None:
            track = self._make(rule, feed, data_type, procedure)
            known.append(track)
        self.of_kind(kind)[key_of(kind)(row)] = track
        return track

    def drop(self, feed: str) -> None:
        """The feed is collected no longer."""
        gone = self._by_feed.pop(feed, [])
        for tracks in self._by_kind.values():
            for key in [key for key, track in tracks.items() if track in gone]:
                del tracks[key]

    def clear(self) -> None:
        """Nothing is to be compared any more."""
        self._by_kind.clear()
        self._by_feed.clear()

    def _make(
        self, rule: Rule, feed: str, kind: DataType, procedure: BookProcedure | None
    ) -> Track:
        coverage = self._coverage
        if rule.way is Way.CUT:
            return Cut(feed, coverage, self._on_cut)
        if rule.way is Way.UNIQUE:
            return Unique(rule, feed, coverage)
        if rule.way is Way.NEWEST:
            return Newest(rule, feed, coverage)
        if rule.sequenced:
            by_rest = procedure is not None and procedure.needs_rest
            return Steps(rule, feed, coverage, by_rest=by_rest)
        if kind is DataType.BOOK:
            return Diffs(rule, feed, coverage)
        return IdSequence(rule, feed, coverage)

    def _stream_of(self, row: Any, kind: DataType) -> Stream | None:
        """The stream that an event came on; that of its symbol goes before one of the market."""
        feed, found = _feed_of(row, kind), None
        for stream in self._streams():
            if stream.scope is Scope.SYMBOL:
                if feed in stream.feeds:
                    return stream
            elif stream.gives(kind) and stream.carries(row.symbol):
                found = stream
        return found

    @staticmethod
    def _feed_on(stream: Stream | None, row: Any, kind: DataType) -> str:
        """The feed, by which the stream's ups and downs are told."""
        if stream is None:
            return _feed_of(row, kind)
        if stream.data_type is kind:
            return stream.feed
        return f"{stream.feed.rpartition('/')[0]}/{kind.value}"  # it comes out of another's stream


def _feed_of(row: Any, kind: DataType) -> str:
    if type(row) is SpentIds:
        return f"{row.exchange.value}/{row.market.value}/{row.symbol}/{kind.value}"
    return feed_of(row)
