from __future__ import annotations

from itertools import islice

import pytest

from farm.testing import MarketSimulator, Push
from farm.types import Exchange, Market

SYMBOLS = {
    (Exchange.BINANCE, Market.SPOT): ("BTCUSDT", "ETHUSDT", "1000SATSUSDT"),
    (Exchange.BINANCE, Market.USDM): ("BTCUSDT", "ETHUSDT", "BTCUSDT_260925"),
    (Exchange.BINANCE, Market.COINM): ("BTCUSD_PERP", "ETHUSD_PERP", "BTCUSD_260925"),
    (Exchange.BYBIT, Market.SPOT): ("BTCUSDT", "ETHUSDT", "TUSDT"),
    (Exchange.BYBIT, Market.LINEAR): ("BTCUSDT", "ETHUSDT", "BTCUSDT-26SEP25"),
    (Exchange.BYBIT, Market.INVERSE): ("BTCUSD", "ETHUSD", "BTCUSDZ26"),
    (Exchange.BYBIT, Market.OPTION): (
        "BTC-25JUN27-106000-C-USDT", "ETH-25JUN27-3000-C-USDT", "XRP-30OCT26-0.4-P-USDT"
    ),
}  # fmt: skip
MARKETS = list(SYMBOLS)


def test_a_text_is_one_name() -> None:
    simulator = MarketSimulator(Exchange.BINANCE, Market.SPOT, "BTCUSDT", seconds=2, intervals="1s")
    assert list(simulator.symbols) == ["BTCUSDT"]
    candles = {push.stream for push in simulator if "@kline_" in push.stream}
    assert candles == {"btcusdt@kline_1s"}


@pytest.mark.parametrize(("exchange", "market"), MARKETS)
def test_the_same_seed_gives_the_same_bytes(exchange: Exchange, market: Market) -> None:
    symbols = SYMBOLS[exchange, market]

    def story(seed: int) -> list[Push]:
        return list(MarketSimulator(exchange, market, symbols, seed=seed, seconds=5))

    assert story(1) == story(1)
    assert story(1) != story(2)
    simulator = MarketSimulator(exchange, market, symbols[:1], seed=1, seconds=5)
    assert list(simulator) == list(simulator)


@pytest.mark.parametrize(("exchange", "market"), MARKETS)
def test_a_symbol_tells_the_same_story_in_any_company(exchange: Exchange, market: Market) -> None:
    symbols = SYMBOLS[exchange, market]
    alone = MarketSimulator(exchange, market, symbols[1:2], seed=4, seconds=5)
    together = MarketSimulator(exchange, market, symbols, seed=4, seconds=5)
    told = [push for push in alone if not push.stream.startswith("!")]
    assert len(told) > 100
    streams = {push.stream for push in told}
    assert [push for push in together if push.stream in streams] == told


@pytest.mark.parametrize(("exchange", "market"), MARKETS)
def test_time_runs_forward_within_the_given_seconds(exchange: Exchange, market: Market) -> None:
    simulator = MarketSimulator(
        exchange, market, SYMBOLS[exchange, market], rate=50, start=10**18, seconds=20
    )
    times = [push.time for push in simulator]
    assert times == sorted(times)
    assert times[0] == 10**18
    assert 10**18 + 19 * 10**9 < times[-1] <= 10**18 + 20 * 10**9


def test_the_rate_is_the_number_of_orders_a_second() -> None:
    simulator = MarketSimulator(Exchange.BINANCE, Market.SPOT, ["BTCUSDT"], rate=300, seconds=30)
    diffs = [push.text for push in simulator if push.stream == "btcusdt@depth"]
    assert len(diffs) == 30
    first = int(diffs[0].partition('"U":')[2].partition(",")[0])
    last = int(diffs[-1].partition('"u":')[2].partition(",")[0])
    # An order changes one level, a taker sometimes more.
    assert 0.9 * 300 * 30 < last - first + 1 < 1.5 * 300 * 30


def test_a_market_without_end_goes_on() -> None:
    simulator = MarketSimulator(Exchange.BINANCE, Market.SPOT, ["BTCUSDT"])
    assert len(list(islice(simulator, 5_000))) == 5_000


def test_only_the_opening_is_silent() -> None:
    simulator = MarketSimulator(Exchange.BYBIT, Market.LINEAR, ["BTCUSDT"], seconds=3)
    pushes = list(simulator)
    silent = [push.stream for push in pushes if push.silent]
    assert silent == [
        *(f"orderbook.{depth}.BTCUSDT" for depth in (1, 50, 200, 1000)),
        "/full_orderbook?symbol=BTCUSDT",
        "tickers.BTCUSDT",
    ]
    assert [push.stream for push in pushes[: len(silent)]] == silent


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"market": Market.LINEAR}, "binance/linear is not simulated"),
        ({"market": Market.USDM, "intervals": ["1s"]}, "unknown candle interval '1s'"),
        ({"symbols": []}, "no symbols"),
        ({"rate": 0}, "rate must be a positive number"),
        ({"rate": float("nan")}, "rate must be a positive number"),
        ({"levels": 10}, "50 levels or more"),
        ({"intervals": ["1M"]}, "unknown candle interval '1M'"),
    ],
)
def test_impossible_markets_are_refused(arguments: dict[str, object], message: str) -> None:
    options: dict[str, object] = {
        "exchange": Exchange.BINANCE,
        "market": Market.SPOT,
        "symbols": ["BTCUSDT"],
        **arguments,
    }
    with pytest.raises(ValueError, match=message):
        MarketSimulator(**options)  # type: ignore[arg-type]
