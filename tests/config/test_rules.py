from __future__ import annotations

from typing import Any

import pytest

from farm.config import (
    CollectorConfig,
    Endpoints,
    FarmConfig,
    StorageConfig,
    SupervisionConfig,
    load_config,
)
from tests.config.documents import collector, document, faults, of_collector


@pytest.mark.parametrize(
    "symbol", ["T", "1000SATSUSDT", "BTCUSDT_260925", "BTC-25JUN27-106000-C", "XRP-0.4-P", "币安"]
)
def test_symbols_of_every_shape(symbol: str) -> None:
    assert CollectorConfig("bybit", "spot", [symbol]).symbols == (symbol,)


def test_exchanges_and_markets() -> None:
    assert of_collector(exchange="binanse") == {
        "collectors[0].exchange": (
            "unknown exchange 'binanse'; did you mean 'binance'? possible: 'binance', 'bybit'"
        )
    }
    unknown = of_collector(market="swap")["collectors[0].market"]
    assert unknown == "unknown market 'swap'; possible: 'spot', 'linear'"
    assert of_collector(market="linear") == {
        "collectors[0].market": ("farm does not collect 'linear' of binance; possible: 'spot'")
    }
    not_yet = of_collector(exchange="bybit", market="option")["collectors[0].market"]
    assert not_yet.endswith("of bybit; possible: 'spot', 'linear'")


@pytest.mark.parametrize(
    ("exchange", "spec", "message"),
    [
        ("binance", "kline:7m", "has no stream 'kline:7m'; it offers 'kline:1s', 'kline:1m', "),
        ("binance", "kline:1min", "'kline:1min'; did you mean 'kline:1m'? it offers 'kline:1s', "),
        ("binance", "kline:1H", "did you mean 'kline:1h'?"),
        ("binance", "kline", "has no stream 'kline'; it offers 'kline:1s', "),
        ("binance", "aggTrade", "did you mean 'agg_trade'? it offers trade, agg_trade, quote, "),
        ("bybit", "book:20", "it offers 'book', 'book:50', 'book:200', 'book:1000'"),
        ("bybit", "kline:1s", "it offers 'kline:1m', "),
        ("bybit", "agg_trade", "bybit/spot has no stream 'agg_trade'; did you mean 'trade'?"),
        ("bybit", "", "has no stream ''; it offers trade, quote, book, book:{50,200,1000}, "),
    ],
)
def test_impossible_streams(exchange: str, spec: str, message: str) -> None:
    found = of_collector(exchange=exchange, streams=["trade", "book", spec])
    assert list(found) == ["collectors[0].streams[2]"]
    assert message in found["collectors[0].streams[2]"]


@pytest.mark.parametrize(
    ("symbol", "message"),
    [
        ("", "is blank"),
        (" \t", "is blank"),
        ("btcusdt", "did you mean 'BTCUSDT'?"),
        ("BTC/USDT", "did you mean 'BTCUSDT'?"),
        ("BTCUSDT\n", "did you mean 'BTCUSDT'?"),
        ("BTC\u200bUSDT", "did you mean 'BTCUSDT'?"),
        ("@", "is no symbol: upper case, no whitespace, none of / \\ @ ="),
    ],
)
def test_impossible_symbols(symbol: str, message: str) -> None:
    found = of_collector(symbols=["ETHUSDT", symbol])
    assert list(found) == ["collectors[0].symbols[1]"]
    assert repr(symbol) in found["collectors[0].symbols[1]"]
    assert message in found["collectors[0].symbols[1]"]


def test_nothing_to_collect() -> None:
    empty = "is empty: at least 1 is needed"
    assert faults({"collectors": []}) == {"collectors": empty}
    assert faults(lambda: FarmConfig([])) == {"collectors": empty}
    assert of_collector(symbols=[], streams=[]) == {
        "collectors[0].symbols": empty,
        "collectors[0].streams": empty,
    }


def test_duplicates_in_one_collector() -> None:
    assert of_collector(symbols=["A", "B", "A"], streams=["trade", "trade"]) == {
        "collectors[0].symbols[2]": "'A' stands twice, first at symbols[0]",
        "collectors[0].streams[1]": "'trade' stands twice, first at streams[0]",
    }


def test_two_words_for_one_stream() -> None:
    """Bybit's ``book`` is its book of 200 levels: the venue would send both feeds once."""
    found = of_collector(exchange="bybit", streams=["book", "book:50", "book:200"])
    assert found == {
        "collectors[0].streams[2]": (
            "'book:200' is the same stream as 'book' on bybit/spot: keep one of them"
        )
    }


@pytest.mark.parametrize(
    ("name", "url", "message"),
    [
        ("ws", "http://h", "must begin with ws:// or wss://"),
        ("ws", "h:80", "must begin with ws:// or wss://"),
        ("rest", "wss://h", "must begin with http:// or https://"),
        ("rest", "", "must begin with http:// or https://"),
        ("rest", "https://", "names no host: write it as https://HOST[:PORT]"),
        ("ws", "ws://:80", "names no host: write it as wss://HOST[:PORT]"),
        ("ws", "ws://h:99999", "is no address: "),
        ("ws", "ws://[::1", "is no address: "),
        ("ws", "ws://h h", "holds whitespace"),
        ("ws", "ws://h\n", "holds whitespace"),
        ("ws", "ws://user:word@h", "no user, query or fragment"),
        ("rest", "http://h?a=1", "no user, query or fragment"),
    ],
)
def test_impossible_addresses(name: str, url: str, message: str) -> None:
    path = f"collectors[0].endpoints.{name}"
    found = faults(document(collectors=[collector(endpoints={name: url})]))
    assert list(found) == [path]
    assert found[path].startswith(repr(url))
    assert message in found[path]
    assert faults(lambda: Endpoints(**{name: url})) == {name: found[path]}


@pytest.mark.parametrize("url", ["ws://127.0.0.1:8080", "wss://[::1]:1", "wss://h/prefix"])
def test_possible_addresses(url: str) -> None:
    assert Endpoints(ws=url).ws == Endpoints(ws=url + "/").ws == url


@pytest.mark.parametrize(
    ("table", "name", "value", "message"),
    [
        (SupervisionConfig, "backoff_initial", 0, "0.0 is not above 0"),
        (SupervisionConfig, "backoff_cap", 0.25, "0.25 is below backoff_initial, which is 0.5"),
        (SupervisionConfig, "healthy_after", -1, "-1.0 is not above 0"),
        (SupervisionConfig, "intensity", -1, "-1 is too small: at least 0"),
        (SupervisionConfig, "period", 0.0, "0.0 is not above 0"),
        (SupervisionConfig, "drain_seconds", -0.5, "-0.5 is too small: at least 0"),
        (SupervisionConfig, "drain_seconds", float("inf"), "expected a finite number, "),
        (StorageConfig, "flush_rows", 0, "0 is too small: at least 1"),
        (StorageConfig, "flush_bytes", -5, "-5 is too small: at least 1"),
        (StorageConfig, "flush_seconds", 0, "0.0 is not above 0"),
    ],
)
def test_numbers_out_of_bounds(table: Any, name: str, value: float, message: str) -> None:
    place = {SupervisionConfig: "supervision", StorageConfig: "storage"}[table]
    [(path, found)] = faults(document(**{place: {name: value}})).items()
    assert path == f"{place}.{name}"
    assert found.startswith(message)
    assert faults(lambda: table(**{name: value})) == {name: found}


def test_the_bounds_themselves_are_allowed() -> None:
    made = SupervisionConfig(backoff_initial=30, intensity=0, drain_seconds=0)
    assert (made.backoff_initial, made.backoff_cap, made.intensity) == (30.0, 30.0, 0)
    assert StorageConfig(flush_rows=1, flush_bytes=1).flush_rows == 1


def test_queues_are_bounded_by_something() -> None:
    found = faults(document(mailbox_bytes=0, subscriber_bytes=-1))
    assert found == {
        "mailbox_bytes": "0 is too small: at least 1",
        "subscriber_bytes": "-1 is too small: at least 1",
    }


@pytest.mark.parametrize(
    ("exchange", "streams", "given", "missing"),
    [
        ("binance", ["book"], "ws", "rest"),
        ("binance", ["trade", "book"], "rest", "ws"),
        ("binance", ["trade", "book:20"], "ws", None),
        ("bybit", ["book"], "ws", None),
    ],
)
def test_a_book_that_needs_snapshots_takes_both_addresses_or_none(
    exchange: str, streams: list[str], given: str, missing: str | None
) -> None:
    """Else a book of a test server would be joined with snapshots of the live one."""
    url = {"ws": "ws://127.0.0.1:1", "rest": "http://127.0.0.1:1"}[given]
    one = collector(exchange=exchange, market="spot", streams=streams, endpoints={given: url})
    if missing is None:
        assert load_config(document(collectors=[one])).collectors[0].streams == tuple(streams)
    else:
        found = faults(document(collectors=[one]))
        assert list(found) == [f"collectors[0].endpoints.{missing}"]
