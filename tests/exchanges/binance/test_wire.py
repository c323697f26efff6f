"""Every frame of Binance's recordings, against an independent reading of its text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import pytest

from farm.entities import AggTrade, BookUpdate, Kline, Quote, SpentIds, Trade
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import Frames, Opened, SnapshotReply
from farm.exchanges.streams import Stream
from farm.storage.capture import CaptureEvent, CaptureRecord, capture_market, read_capture
from farm.types import Market, NumberMode
from tests.exchanges.binance.reading import Reading, readings, snapshot_reading
from tests.exchanges.feeding import (
    BINANCE_COINM,
    BINANCE_SPOT,
    BINANCE_USDM,
    Drive,
    as_read,
    check_numbers,
    number_of,
)
from tests.recordings import recording


@attrs.frozen
class Recording:
    """A recording and what is in it. `book` is the word for its stream of diffs."""

    name: str
    rules: MarketRules
    counts: dict[type, int]
    symbol: str = ""  # of a log, whose REST answer names none
    book: str = "book"


RECORDINGS = [
    Recording(
        "binance_spot_btcusdt_20240808.log.gz",
        BINANCE_SPOT,
        {Trade: 9_757, Quote: 28_040, BookUpdate: 3_451 + 1},
        symbol="BTCUSDT",
    ),
    Recording(
        "binance_usdm_btcusdt_20240808.log.gz",
        BINANCE_USDM,
        {Trade: 21_313, Quote: 66_089, BookUpdate: 6_551 + 1},
        symbol="BTCUSDT",
        book="book@0ms",
    ),
    Recording(
        "binance_coinm_btcusd_perp_20240808.log.gz",
        BINANCE_COINM,
        {Trade: 2_286, Quote: 19_136, BookUpdate: 26_847 + 1},
        symbol="BTCUSD_PERP",
        book="book@0ms",
    ),
    Recording(
        "session_binance_spot_20211012.jsonl.gz",
        BINANCE_SPOT,
        {BookUpdate: 177 + 4, Quote: 84, AggTrade: 2, Kline: 2},
    ),
    Recording(
        "session_binance_usdm_20210722.jsonl.gz",
        BINANCE_USDM,
        {BookUpdate: 764 + 4, Quote: 613, AggTrade: 91, Kline: 67},
    ),
    Recording(
        "session_binance_coinm_20210722.jsonl.gz",
        BINANCE_COINM,
        {BookUpdate: 2_047 + 10, Quote: 2_240, AggTrade: 51, Kline: 33},
    ),
]
each = pytest.mark.parametrize("it", RECORDINGS, ids=lambda it: it.name.partition(".")[0])


class Player:
    """Plays a recording through a core of ours."""

    def __init__(self, it: Recording, mode: NumberMode = NumberMode.FLOAT) -> None:
        self.it = it
        self.number = number_of(mode)
        self.session = Drive(it.rules, numbers=mode, discover=True, books=False).session
        self.session.handle(Opened(1, 0, 0.0))

    def events(self) -> Iterator[tuple[CaptureRecord, int, list[Any]]]:
        """What each record gives, with its number; records of no market data are left out."""
        for ordinal, record in enumerate(read_capture(recording(self.it.name))):
            item = self._as_input(record, ordinal)
            if item is None:
                continue
            bundle = self.session.handle(item)
            assert bundle is not None
            assert bundle.unparsed == []
            yield record, ordinal, [event for batch in bundle.batches for event in batch.rows]

    def reading(self, record: CaptureRecord) -> list[Reading]:
        """What the record says."""
        message, market = json.loads(record.text), self.it.rules.market
        if record.event is CaptureEvent.RECEIVED:
            return readings(market, message["stream"], message["data"], self.number)
        return [snapshot_reading(market, self._symbol(record), message, self.number)]

    def _as_input(self, record: CaptureRecord, ordinal: int) -> Frames | SnapshotReply | None:
        size = len(record.text)
        if record.event is CaptureEvent.RECEIVED:
            assert record.text.startswith(b'{"stream"')
            return Frames(1, record.time, ordinal, [record.text], size)
        if record.event is CaptureEvent.REPLY and b'"lastUpdateId"' in record.text:
            return SnapshotReply(1, record.time, ordinal, self._stream(record), record.text, size)
        return None

    def _stream(self, record: CaptureRecord) -> Stream:
        rules = self.it.rules
        assert not record.url or capture_market(record.url) == (rules.exchange, rules.market)
        return rules.streams.stream(self._symbol(record), self.it.book)

    def _symbol(self, record: CaptureRecord) -> str:
        return record.url.partition("symbol=")[2].partition("&")[0] or self.it.symbol


@pytest.mark.parametrize("mode", list(NumberMode))
@each
def test_every_event_of_a_recording_is_what_its_text_says(it: Recording, mode: NumberMode) -> None:
    player = Player(it, mode)
    seen: Counter[type] = Counter()
    for record, ordinal, events in player.events():
        expected = player.reading(record)
        place = {"receive_time": record.time, "ordinal": ordinal}
        assert [(type(e), as_read(e)) for e in events] == [(k, f | place) for k, f in expected]
        for event in events:
            seen[type(event)] += 1
            check_numbers(event, mode)
    assert seen == it.counts


# ------------------------------------------------------------------------------- what the ids prove
@each
def test_no_event_is_missing_in_a_recording_by_what_its_ids_prove(it: Recording) -> None:
    kinds: dict[type, list[Any]] = {Trade: [], AggTrade: [], BookUpdate: [], SpentIds: []}
    for _, _, events in Player(it).events():
        for event in events:
            kinds.get(type(event), []).append(event)
    assert kinds[SpentIds] == []  # placeholders came later
    assert breaks(kinds[Trade], lambda now, before: int(now.id) == int(before.id) + 1) == 0
    assert breaks(kinds[AggTrade], lambda now, before: int(now.id) == int(before.id) + 1) == 0
    assert breaks(kinds[AggTrade], adjoins) == 0
    diffs = [update for update in kinds[BookUpdate] if not update.is_snapshot]
    spot = it.rules.market is Market.SPOT
    assert breaks(diffs, follows_by_first_id if spot else follows_by_previous_id) == 0
    if not spot and it.symbol:  # on futures U says nothing
        assert breaks(diffs, follows_by_first_id) > 0.9 * len(diffs)


def breaks(events: Iterable[Any], follows: Any) -> int:
    """How often an event does not follow the one before it of its symbol."""
    last: dict[str, Any] = {}
    count = 0
    for event in events:
        before = last.get(event.symbol)
        count += before is not None and not follows(event, before)
        last[event.symbol] = event
    return count


def adjoins(now: AggTrade, before: AggTrade) -> bool:
    return now.first_trade_id == before.last_trade_id + 1


def follows_by_first_id(now: BookUpdate, before: BookUpdate) -> bool:
    return now.first_id == before.last_id + 1


def follows_by_previous_id(now: BookUpdate, before: BookUpdate) -> bool:
    return now.previous_id == before.last_id
