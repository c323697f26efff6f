from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.exchanges.registry import MARKETS, rules_of
from farm.exchanges.share import Share
from farm.exchanges.streams import Stream
from farm.types import Exchange, Market

counts = st.integers(1, 300)
symbols = st.text(st.characters(min_codepoint=33, blacklist_categories=["Cs"]), min_size=1)
markets = st.sampled_from(list(MARKETS))


def shares(count: int) -> list[Share]:
    return [Share(index, count) for index in range(1, count + 1)]


def holder(stream: Stream, count: int) -> int:
    """The one share that has `stream`."""
    (index,) = (share.index for share in shares(count) if share.has(stream))
    return index


@given(markets, symbols, counts)
def test_the_feeds_of_a_symbol_are_in_one_share_together(
    key: tuple[Exchange, Market], symbol: str, count: int
) -> None:
    table = rules_of(*key).streams
    streams = [table.stream(symbol, spec) for spec in table.specs]
    of_symbol = {holder(stream, count) for stream in streams if stream.symbol == symbol}
    assert len(of_symbol) == 1


@given(markets, counts)
def test_each_stream_of_a_whole_market_is_in_one_share(
    key: tuple[Exchange, Market], count: int
) -> None:
    table = rules_of(*key).streams
    for spec in table.market_specs:
        assert 1 <= holder(table.market_stream(spec), count) <= count


def test_what_symbols_share_goes_by_its_own_symbol() -> None:
    option = rules_of(Exchange.BYBIT, Market.OPTION).streams
    calls = [f"BTC-25JUN27-{strike}-C-USDT" for strike in range(100_000, 120_000, 1000)]
    assert len({holder(option.stream(call, "trade"), 8) for call in calls}) == 1
    assert len({holder(option.stream(call, "ticker"), 8) for call in calls}) > 1
    coinm = rules_of(Exchange.BINANCE, Market.COINM).streams
    spec = "continuous_kline:perpetual:1m"
    pair, *contracts = ("BTCUSD", "BTCUSD_PERP", "BTCUSD_260925")
    of_pair = holder(coinm.stream(pair, "trade"), 8)
    assert {holder(coinm.stream(name, spec), 8) for name in contracts} == {of_pair}


def test_streams_of_a_whole_market_are_spread() -> None:
    table = rules_of(Exchange.BINANCE, Market.USDM).streams
    streams = [table.market_stream(spec) for spec in table.market_specs]
    assert len({holder(stream, 8) for stream in streams}) > 1


def test_shares_are_about_as_large_as_each_other() -> None:
    table = rules_of(Exchange.BINANCE, Market.SPOT).streams
    found = Counter(holder(table.stream(f"C{i}USDT", "trade"), 8) for i in range(2000))
    assert len(found) == 8
    assert min(found.values()) > 200
    assert max(found.values()) < 300


def test_who_has_what_does_not_change_from_version_to_version() -> None:
    """Whoever runs containers of two versions of farm at once must not miss a feed."""
    table = rules_of(Exchange.BINANCE, Market.SPOT).streams
    names = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "币安人生USDT"]
    assert [holder(table.stream(name, "trade"), 8) for name in names] == [2, 2, 1, 7]


PROGRAM = """
from farm.exchanges.registry import rules_of
from farm.exchanges.share import Share
from farm.types import Exchange, Market

table = rules_of(Exchange.BYBIT, Market.LINEAR).streams
print([Share(2, 3).has(table.stream(f"C{i}USDT", "trade")) for i in range(50)])
"""


def test_every_process_comes_to_the_same_shares() -> None:
    """Python's own hashes of strings differ from process to process."""
    said = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert b"True" in next(iter(said))


@given(st.integers(1, 9999).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))))
def test_a_share_is_read_as_it_is_written(parts: tuple[int, int]) -> None:
    share = Share(*parts)
    assert str(share) == f"{parts[0]}/{parts[1]}"
    assert Share.parse(str(share)) == share


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0/8", "'0/8': the first shard is 1/8"),
        ("9/8", "'9/8': the last shard is 8/8"),
        ("1/0", "'1/0': there must be at least one shard, which is 1/1"),
        ("0/0", "'0/0': there must be at least one shard, which is 1/1"),
        ("02/08", "'02/08': write it without leading zeros, as 2/8"),
        *(
            (text, f"{text!r} is no share: write it as 2/8, the second of eight")
            for text in ("", "2", "/", "2/", "-1/8", "1/8/2", "1 / 8", "1/8\n", "²/8", "٢/8", "a/b")
        ),
        ("1/10000", "'1/10000' is no share: write it as 2/8, the second of eight"),
        ("1" * 9000, f"'{'1' * 80}' is no share: write it as 2/8, the second of eight"),
    ],
)
def test_what_is_no_share(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Share.parse(text)
    assert str(caught.value) == message
