from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import cattrs
import pytest

from farm.config import (
    ClusterConfig,
    CollectorConfig,
    Endpoints,
    FarmConfig,
    InstrumentsConfig,
    StorageConfig,
    SupervisionConfig,
    load_config,
    parse_toml,
)
from farm.exchanges.registry import MARKETS, rules_of
from farm.exchanges.share import Share
from farm.types import Exchange, Market, NumberMode, TimeFrame
from tests.config.documents import collector, document, example_toml, faults


def test_the_example_of_the_docstring() -> None:
    config = parse_toml(example_toml())
    first, second = config.collectors
    assert (first.exchange, first.market) == (Exchange.BINANCE, Market.SPOT)
    assert first.symbols == ("BTCUSDT", "ETHUSDT")
    assert first.streams == ("trade", "quote", "book", "kline:1m")
    assert second.endpoints.ws == "wss://proxy.example:9443"
    assert config.numbers is NumberMode.FLOAT
    assert config.data == Path.cwd() / "market-data"
    assert config.supervision == SupervisionConfig(escalate="park")
    assert config.storage == StorageConfig(flush_seconds=300.0)
    assert isinstance(config.storage.flush_seconds, float)  # written as 300


def test_everything_but_the_collectors_has_a_default() -> None:
    config = load_config(document())
    assert config.collectors[0].streams == ("trade",)
    assert config.data is None
    assert config.mailbox_bytes == config.subscriber_bytes == 64 * 1024 * 1024
    assert attrs.astuple(config.supervision) == (0.5, 30.0, 60.0, 5, 60.0, "raise", 10.0)
    assert attrs.astuple(config.storage) == (250_000, 32 * 1024 * 1024, 60.0)
    assert attrs.astuple(config.instruments) == (True, 600.0, 10.0)
    assert attrs.astuple(config.cluster) == (0.25, 5.0, None, False, True, 5, 60.0)
    assert (config.processes, config.shard, config.share) == (None, None, None)
    made = config.collectors[0]
    assert (made.market_streams, made.lanes, made.time_unit) == ((), 1, "millisecond")
    assert (made.snapshot_levels, made.poll_seconds, made.rotate_seconds) == (None, None, None)
    assert made.latency_budget == 0.0


def test_a_document_with_everything_in_it() -> None:
    config = parse_toml(
        """
        processes = 4
        shard = "2/8"

        [[collectors]]
        exchange = "binance"
        market = "usdm"
        symbols = ["BTCUSDT", "*USDC"]
        streams = ["book", "open_interest", "continuous_kline:current_quarter:1h"]
        market_streams = ["mark_price@3s", "contract_info"]
        lanes = 2
        snapshot_levels = 500
        poll_seconds = 15
        rotate_seconds = 3600
        latency_budget = 0.005

        [[collectors]]
        exchange = "binance"
        market = "spot"
        symbols = ["BTCUSDT"]
        time_unit = "microsecond"

        [instruments]
        check = true
        refresh_seconds = 60
        start_seconds = 0

        [cluster]
        heartbeat_seconds = 0.5
        hang_seconds = 2
        memory_limit = 2_000_000_000
        pin_cpus = true
        spare = false
        intensity = 3
        period = 600
        """
    )
    first, second = config.collectors
    assert first.market is Market.USDM
    assert (first.lanes, first.snapshot_levels) == (2, 500)
    assert (first.poll_seconds, first.rotate_seconds) == (15.0, 3600.0)
    assert first.latency_budget == 0.005
    assert isinstance(first.poll_seconds, float)  # written as 15
    assert second.time_unit == "microsecond"
    assert config.instruments == InstrumentsConfig(True, 60.0, 0.0)
    assert config.processes == 4
    assert config.share == Share(2, 8)
    assert config.cluster == ClusterConfig(0.5, 2.0, 2_000_000_000, True, False, 3, 600.0)
    assert [(s.spec, s.symbol, s.route) for s in first.streams_of_market()] == [
        ("mark_price", "*", "market"),
        ("contract_info", "*", "market"),
    ]
    assert load_config(_without_none(cattrs.unstructure(config))) == config


def test_python_objects_take_plain_values_and_hold_typed_ones() -> None:
    config = FarmConfig(
        collectors=[
            CollectorConfig("bybit", "linear", ["BTCUSDT"], endpoints=Endpoints(ws="ws://h:1/"))
        ],
        numbers="decimal",
        data="market-data",
    )
    made = config.collectors[0]
    assert (made.exchange, made.market, made.symbols) == (
        Exchange.BYBIT,
        Market.LINEAR,
        ("BTCUSDT",),
    )
    assert made.endpoints.ws == "ws://h:1"
    assert isinstance(config.collectors, tuple)
    assert (config.numbers, config.data) == (NumberMode.DECIMAL, Path("market-data"))
    same = load_config(
        {
            "collectors": [
                collector(exchange="bybit", market="linear", endpoints={"ws": "ws://h:1"})
            ],
            "numbers": "decimal",
            "data": "market-data",
        }
    )
    assert load_config(config) == same
    assert hash(load_config(config)) == hash(same)


def test_a_mapping_may_hold_objects() -> None:
    made = CollectorConfig(Exchange.BINANCE, Market.SPOT, ("BTCUSDT",))
    assert load_config({"collectors": [made]}).collectors == (made,)


def test_streams_of_is_every_symbol_by_every_stream() -> None:
    made = CollectorConfig(
        "binance", "spot", ["BTCUSDT", "币安人生USDT"], ["trade", "book:20", "kline:1M"]
    )
    streams = made.streams_of()
    assert [(s.symbol, s.spec) for s in streams] == [
        (symbol, spec) for symbol in made.symbols for spec in made.streams
    ]
    assert streams[2].name == "btcusdt@kline_1M"
    assert streams[2].interval is TimeFrame.MO1
    assert streams[4].name == "币安人生usdt@depth20@100ms"


@pytest.mark.parametrize(("exchange", "market"), MARKETS)
def test_every_stream_of_every_market_can_be_configured(exchange: Exchange, market: Market) -> None:
    table = rules_of(exchange, market).streams
    for spec in table.specs:
        [stream] = CollectorConfig(exchange, market, ["BTCUSDT"], [spec]).streams_of()
        assert table.recognise(stream.name) == stream
    for spec in table.market_specs:
        made = CollectorConfig(exchange, market, market_streams=[spec])
        [stream] = made.streams_of_market()
        assert table.recognise(stream.name) == stream
        assert made.streams_of() == []


def test_streams_of_other_symbols_are_made_by_the_same_rules() -> None:
    made = CollectorConfig("bybit", "option", ["BTC-*"], ["trade", "book"])
    names = [stream.name for stream in made.streams_of(["BTC-1-C", "BTC-2-P"])]
    assert names == [
        "publicTrade.BTC",
        "orderbook.100.BTC-1-C",
        "publicTrade.BTC",
        "orderbook.100.BTC-2-P",
    ]


def test_duplicate_feeds_across_collectors() -> None:
    first = collector(symbols=["A", "B"], streams=["trade", "quote"])
    again = collector(symbols=["C", "B"], streams=["quote", "book", "trade"])
    expected = {
        "collectors[2].symbols[1]": "'B' is collected by collectors[0] already: 'quote', 'trade'"
    }
    other_market = collector(exchange="bybit", symbols=["A", "B"])
    assert faults({"collectors": [first, other_market, again]}) == expected
    objects = [CollectorConfig(**values) for values in (first, other_market, again)]
    assert faults(lambda: FarmConfig(objects)) == expected
    apart = collector(symbols=["A"], streams=["book"])
    assert len(load_config({"collectors": [first, apart]}).collectors) == 2
    bybit = [collector(exchange="bybit", market=market) for market in ("spot", "linear")]
    assert len(load_config({"collectors": bybit}).collectors) == 2  # they share their names


def test_two_speeds_of_one_book_are_one_feed_also_in_two_collectors() -> None:
    one, other = (collector(streams=[spec]) for spec in ("book", "book@1000ms"))
    assert faults({"collectors": [one, other]}) == {
        "collectors[1].symbols[0]": (
            "'BTCUSDT' is collected by collectors[0] already: 'book@1000ms' (there 'book')"
        )
    }


def test_the_trades_of_options_on_one_coin_are_one_feed() -> None:
    """Bybit sends them by coin: a second collector of it would have all of them again."""
    first = _options(["BTC-1-C", "BTC-2-P"], ["trade"])
    second = _options(["ETH-1-C", "BTC-3-C", "BTC-4-C"], ["book", "trade"])
    assert faults({"collectors": [first, second]}) == {
        "collectors[1].symbols[1]": "'BTC-3-C' is collected by collectors[0] already: 'trade'"
    }
    books = _options(["BTC-3-C"], ["book"])
    assert len(load_config({"collectors": [first, books]}).collectors) == 2


def _options(symbols: list[str], streams: list[str]) -> dict[str, Any]:
    return collector(exchange="bybit", market="option", symbols=symbols, streams=streams)


def test_market_streams_of_two_collectors() -> None:
    first = collector(market="usdm", market_streams=["ticker", "mark_price"])
    again = collector(market="usdm", symbols=["X"], market_streams=["liquidation", "mark_price@3s"])
    assert faults({"collectors": [first, again]}) == {
        "collectors[1].market_streams[1]": ("'mark_price@3s' is collected by collectors[0] already")
    }
    elsewhere = collector(market="coinm", symbols=["X"], market_streams=["ticker"])
    assert len(load_config({"collectors": [first, elsewhere]}).collectors) == 2


@pytest.mark.parametrize("whole_first", [True, False])
def test_a_symbol_of_one_collector_in_the_market_streams_of_another(whole_first: bool) -> None:
    whole = {"exchange": "binance", "market": "usdm", "market_streams": ["mark_price", "ticker"]}
    single = collector(market="usdm", symbols=["A", "B"], streams=["trade", "mark_price@3s"])
    if whole_first:
        expected = {
            f"collectors[1].symbols[{index}]": (
                f"{symbol!r} is collected by collectors[0] already: "
                "'mark_price@3s' (there 'mark_price' of the whole market)"
            )
            for index, symbol in enumerate("AB")
        }
    else:
        expected = {
            "collectors[1].market_streams[0]": "'mark_price' is collected by collectors[0] already"
        }
    both = [whole, single] if whole_first else [single, whole]
    assert faults({"collectors": both}) == expected
    apart = collector(market="usdm", streams=["trade", "quote"])
    assert len(load_config({"collectors": [whole, apart]}).collectors) == 2


def test_duplicate_feeds_are_named_as_they_were_written() -> None:
    """Bybit's ``book`` is its book of 200 levels, whichever word stands where."""
    one, other = (
        collector(exchange="bybit", streams=streams)
        for streams in (["trade", "book"], ["book:200", "trade"])
    )
    path = "collectors[1].symbols[0]"
    by_0 = "'BTCUSDT' is collected by collectors[0] already: "
    assert faults({"collectors": [one, one]}) == {path: by_0 + "'trade', 'book'"}
    assert faults({"collectors": [one, other]}) == {
        path: by_0 + "'book:200' (there 'book'), 'trade'"
    }


def test_what_is_made_can_be_written_down_and_read_again() -> None:
    config = parse_toml(example_toml())
    assert load_config(_without_none(cattrs.unstructure(config))) == config


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return str(value) if isinstance(value, Path) else value
