"""The rule by which copies are told, for every kind on every market."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import attrs
import pytest

from farm.entities import EVENT_KINDS, BookUpdate, SpentIds, Ticker
from farm.exchanges.lanes.identity import Way, content_of, key_of, rule_of
from farm.exchanges.registry import MARKETS
from farm.exchanges.streams import BookProcedure
from farm.types import BookVerdict, DataType, Exchange, Market
from tests.exchanges.lanes.copies import (
    CONTIGUOUS,
    CONTRACTS,
    EVERY,
    LIQUIDATIONS,
    MARK_PRICES,
    MINI_TICKERS,
    NEWEST,
    PARTIAL_BOOK,
    SPOT_KLINES,
    TICKERS,
    UNIQUE,
    USDM_KLINES,
    USDM_TRADES,
    Copied,
)

WITHOUT = {DataType.CONTRACT_INFO, DataType.INSTRUMENT, DataType.GAP}
PLACE = (5, 6)


def rule(feed: Copied) -> Any:
    stream = feed.stream
    return rule_of(stream.exchange, stream.market, stream.data_type, stream.procedure)


@pytest.mark.parametrize("market", MARKETS.values(), ids=lambda rules: rules.key)
def test_every_stream_of_every_market_has_a_rule(market: Any) -> None:
    for template in market.streams.templates:
        for kind in (template.data_type, *template.also):
            found = rule_of(market.exchange, market.market, kind, template.procedure)
            assert (found.way is Way.CUT) == (kind in WITHOUT), (market.key, kind)


@pytest.mark.parametrize(
    ("feeds", "way"),
    [
        (CONTIGUOUS, Way.CONTIGUOUS),
        (UNIQUE, Way.UNIQUE),
        (NEWEST, Way.NEWEST),
        ([CONTRACTS], Way.CUT),
    ],
)
def test_the_way_of_each_feed(feeds: list[Copied], way: Way) -> None:
    assert {rule(feed).way for feed in feeds} == {way}


@pytest.mark.parametrize("feed", CONTIGUOUS, ids=str)
def test_each_event_follows_the_one_before(feed: Copied) -> None:
    spans = [rule(feed).span(feed.make(n, n % 2, PLACE)) for n in range(10, 20)]
    for before, after in pairwise(spans):
        assert before[1] + 1 == after[0] <= after[1]


def test_spent_ids_are_of_the_trades() -> None:
    span = rule(USDM_TRADES).span
    spent = SpentIds(Exchange.BINANCE, Market.USDM, "BTCUSDT", 5, 8, None, None, 1, 1)
    assert span(spent) == (5, 8)
    assert rule_of(Exchange.BINANCE, Market.USDM, DataType.SPENT_IDS) == rule(USDM_TRADES)


def test_futures_diffs_without_a_previous_id_go_by_their_first() -> None:
    head = (Exchange.BINANCE, Market.USDM, "BTCUSDT", None, False, [], [])
    diff = BookUpdate(*head, 7, 9, None, None, BookVerdict.SYNCING, None, None, 1, 1)
    found = rule_of(
        Exchange.BINANCE, Market.USDM, DataType.BOOK, BookProcedure.DIFFS_BY_PREVIOUS_ID
    )
    assert found.span is not None
    assert found.span(diff) == (7, 9)
    assert found.span(attrs.evolve(diff, previous_id=3)) == (4, 9)


@pytest.mark.parametrize("feed", UNIQUE, ids=str)
def test_copies_have_one_identity_and_events_have_several(feed: Copied) -> None:
    identity = rule(feed).identity
    ones = [identity(feed.make(n, 0, PLACE)) for n in range(10)]
    assert ones == [identity(feed.make(n, 1, (7, 8))) for n in range(10)]
    assert len(set(ones)) == 10


@pytest.mark.parametrize("feed", NEWEST, ids=str)
def test_later_events_of_a_group_rank_higher(feed: Copied) -> None:
    found = rule(feed)
    groups: dict[Any, list[Any]] = {}
    for n in range(20):
        row = feed.make(n, 0, PLACE)
        groups.setdefault(found.group and found.group(row), []).append(found.rank(row))
    for ranks in groups.values():
        assert ranks == sorted(ranks)
        assert len(set(ranks)) == len(ranks)
    assert (len(groups) > 1) == (feed in (SPOT_KLINES, USDM_KLINES))


def test_states_without_a_time_of_their_own_go_by_another() -> None:
    rank = rule(MINI_TICKERS).rank
    row = MINI_TICKERS.make(1, 0, (5, 6))
    assert rank(row) == row.event_time
    assert rank(attrs.evolve(row, event_time=None)) == row.exchange_time
    assert rank(attrs.evolve(row, event_time=None, exchange_time=None)) == 5


def test_only_spot_stamps_its_copies_anew() -> None:
    for feed in EVERY:
        is_spot = feed.stream.market is Market.SPOT and feed.stream.exchange is Exchange.BINANCE
        assert rule(feed).restamped == (is_spot and feed in NEWEST and feed is not PARTIAL_BOOK)


@pytest.mark.parametrize("feed", [f for f in EVERY if f is not LIQUIDATIONS], ids=str)
def test_copies_have_one_content(feed: Copied) -> None:
    content = content_of(type(feed.make(1, 0, PLACE)))
    assert content(feed.make(1, 0, (5, 6))) == content(feed.make(1, 1, (7, 8)))
    if feed is not MARK_PRICES:  # which may stay what it was
        assert content(feed.make(1, 0, PLACE)) != content(feed.make(2, 0, PLACE))


def test_every_kind_has_a_key_and_a_content() -> None:
    for kind in EVENT_KINDS.values():
        assert callable(content_of(kind))
        assert callable(key_of(kind))
    ticker = TICKERS.make(1, 0, PLACE)
    assert key_of(Ticker)(ticker) == "BTCUSDT"
    later = attrs.evolve(ticker, open_time=5, close_time=9)
    assert content_of(Ticker)(ticker) == content_of(Ticker)(later)
