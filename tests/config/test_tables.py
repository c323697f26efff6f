from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import cattrs
import pytest

from farm.config import (
    CollectorConfig,
    Endpoints,
    FarmConfig,
    StorageConfig,
    SupervisionConfig,
    load_config,
    parse_toml,
)
from farm.exchanges.registry import MARKETS, rules_of
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
