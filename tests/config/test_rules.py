from __future__ import annotations

from typing import Any

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
)
from tests.config.documents import collector, document, faults, of_collector


@pytest.mark.parametrize(
    "symbol",
    [
        *("T", "1000SATSUSDT", "BTCUSDT_260925", "BTC-25JUN27-106000-C", "XRP-0.4-P", "币安"),
        *("*", "*USDT", "BTCUSD_??????", "BTC-*-C", "1000?*"),  # these stand for many
    ],
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
    assert unknown == (
        "unknown market 'swap'; possible: 'spot', 'usdm', 'coinm', 'linear', 'inverse', 'option'"
    )
    assert of_collector(market="linear") == {
        "collectors[0].market": (
            "farm does not collect 'linear' of binance; possible: 'spot', 'usdm', 'coinm'"
        )
    }
    coinm = of_collector(exchange="bybit", market="coinm")["collectors[0].market"]
    assert coinm.endswith("of bybit; possible: 'spot', 'linear', 'inverse', 'option'")


@pytest.mark.parametrize(
    ("exchange", "spec", "message"),
    [
        ("binance", "kline:7m", "has no stream 'kline:7m'; it offers 'kline:1s', 'kline:1m', "),
        ("binance", "kline:1min", "'kline:1min'; did you mean 'kline:1m'? it offers 'kline:1s', "),
        ("binance", "kline:1H", "did you mean 'kline:1h'?"),
        ("binance", "kline", "has no stream 'kline'; it offers 'kline:1s', "),
        ("binance", "aggTrade", "did you mean 'agg_trade'? it offers trade, agg_trade, quote, "),
        ("binance", "liquidation", "binance/spot has no stream 'liquidation'; it offers trade, "),
        ("binance", "book@7ms", "has no stream 'book@7ms'; did you mean 'book@100ms'?"),
        ("bybit", "book:20", "it offers 'book', 'book:50', 'book:200', 'book:1000', 'book:full'"),
        ("bybit", "kline:1s", "it offers 'kline:1m', "),
        ("bybit", "agg_trade", "bybit/spot has no stream 'agg_trade'; did you mean 'trade'?"),
        ("bybit", "", "has no stream ''; it offers trade, quote, book, book:{50,200,1000,full}, "),
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
        "collectors[0].symbols": "is empty: name symbols, or market_streams",
        "collectors[0].streams": empty,
    }
    assert of_collector(market="usdm", symbols=[], market_streams=["mark_price"], streams=[]) == {
        "collectors[0].streams": empty
    }


def test_a_collector_of_whole_markets_needs_no_symbols() -> None:
    made = CollectorConfig("binance", "usdm", market_streams=["mark_price", "liquidation"])
    assert made.symbols == ()
    assert made.streams_of() == []
    assert [stream.name for stream in made.streams_of_market()] == [
        "!markPrice@arr@1s",
        "!forceOrder@arr",
    ]


def test_duplicates_in_one_collector() -> None:
    assert of_collector(symbols=["A", "B", "A"], streams=["trade", "trade"]) == {
        "collectors[0].symbols[2]": "'A' stands twice, first at symbols[0]",
        "collectors[0].streams[1]": "'trade' stands twice, first at streams[0]",
    }


@pytest.mark.parametrize(
    ("exchange", "market", "streams"),
    [
        ("bybit", "spot", ["book", "book:50", "book:200"]),  # Bybit's default book is that of 200
        ("bybit", "option", ["book", "trade", "book:100"]),
        ("binance", "spot", ["book", "book:20", "book@1000ms"]),  # two speeds of one book
        ("binance", "spot", ["book:20", "trade", "book:20@1000ms"]),
        ("binance", "usdm", ["mark_price", "ticker", "mark_price@3s"]),
    ],
)
def test_two_words_for_one_feed(exchange: str, market: str, streams: list[str]) -> None:
    """Else the feed would come twice."""
    found = of_collector(exchange=exchange, market=market, streams=streams)
    first, _, second = streams
    assert found == {
        "collectors[0].streams[2]": (
            f"{second!r} is the same feed as {first!r} on {exchange}/{market}: keep one of them"
        )
    }


@pytest.mark.parametrize(
    ("exchange", "market", "spec", "message"),
    [
        (
            "binance",
            "spot",
            "mini_tiker",
            "'mini_tiker'; did you mean 'mini_ticker'? it offers 'mini_ticker'",
        ),
        (
            "binance",
            "usdm",
            "trade",
            "'trade'; it offers 'quote', 'mark_price', 'mark_price@3s', 'mini_ticker', 'ticker', ",
        ),
        (
            "bybit",
            "linear",
            "ticker",
            "'ticker'; it offers none",
        ),
    ],
)
def test_impossible_market_streams(exchange: str, market: str, spec: str, message: str) -> None:
    found = of_collector(exchange=exchange, market=market, market_streams=[spec])
    assert list(found) == ["collectors[0].market_streams[0]"]
    start = f"{exchange}/{market} has no stream of the whole market {message}"
    assert found["collectors[0].market_streams[0]"].startswith(start)


@pytest.mark.parametrize(
    ("streams", "market_streams", "place"),
    [
        (["trade", "mark_price"], ["ticker", "mark_price"], 1),
        (["mark_price@3s"], ["mark_price"], 0),  # at another speed
        (["mark_price"], ["mark_price@3s"], 0),
        (["trade"], ["mark_price", "liquidation", "mark_price@3s"], 2),
    ],
)
def test_a_feed_that_the_market_streams_would_double(
    streams: list[str], market_streams: list[str], place: int
) -> None:
    found = of_collector(market="usdm", streams=streams, market_streams=market_streams)
    spec = market_streams[place]
    assert found == {
        f"collectors[0].market_streams[{place}]": (
            f"{spec!r} is collected already, by streams or by another word for it"
        )
    }


def test_market_streams_beside_those_of_symbols() -> None:
    """Without symbols there is nothing to double."""
    one = collector(market="usdm", streams=["trade", "quote"], market_streams=["mark_price"])
    assert load_config(document(collectors=[one])).collectors[0].market_streams == ("mark_price",)
    none = collector(market="usdm", symbols=[], streams=["quote"], market_streams=["quote"])
    assert load_config(document(collectors=[none])).collectors[0].streams_of() == []


def test_market_streams_twice() -> None:
    assert of_collector(market="usdm", market_streams=["ticker", "ticker"]) == {
        "collectors[0].market_streams[1]": (
            "'ticker' stands twice, first at market_streams[0]"
            "'ticker' is collected already, by streams or by another word for it"
        )
    }


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"lanes": 0}, "lanes", "0 is too small: at least 1"),
        ({"lanes": 5}, "lanes", "5 is too large: at most 4"),
        (
            {"market": "usdm", "time_unit": "microsecond"},
            "time_unit",
            "binance/usdm has no microseconds; binance/spot has",
        ),
        (
            {"exchange": "bybit", "time_unit": "microsecond"},
            "time_unit",
            "bybit/spot has no microseconds; binance/spot has",
        ),
        ({"snapshot_levels": 0}, "snapshot_levels", "0 is too small: at least 1"),
        ({"snapshot_levels": 5001}, "snapshot_levels", "5001 is too large: at most 5000"),
        (
            {"market": "usdm", "snapshot_levels": 1001},
            "snapshot_levels",
            "1001 is too large: at most 1000",
        ),
        (
            {"market": "usdm", "snapshot_levels": 250},
            "snapshot_levels",
            "250 is none of binance/usdm's: 5, 10, 20, 50, 100, 500, 1000",
        ),
        (
            {"exchange": "bybit", "market": "inverse", "snapshot_levels": 50},
            "snapshot_levels",
            "bybit/inverse has no book snapshots by REST",
        ),
        ({"poll_seconds": 5.0}, "poll_seconds", "binance/spot has nothing to poll"),
        ({"latency_budget": -0.1}, "latency_budget", "-0.1 is too small: at least 0"),
        (
            {"latency_budget": 0.0005},
            "latency_budget",
            "0.0005 is too small: at least 0.001, or 0 for none",
        ),
        ({"latency_budget": 1.5}, "latency_budget", "1.5 is too large: at most 1"),
        ({"rotate_seconds": 0}, "rotate_seconds", "0.0 is too small: at least 1"),
        (
            {"rotate_seconds": 86_400},
            "rotate_seconds",
            "86400 is too large: binance/spot ends a connection after 86400",
        ),
    ],
)
def test_details_that_cannot_be(changes: dict[str, Any], path: str, message: str) -> None:
    assert of_collector(**changes) == {f"collectors[0].{path}": message}


def test_polls_no_more_often_than_each_second() -> None:
    found = of_collector(market="usdm", poll_seconds=0.5)
    assert found == {"collectors[0].poll_seconds": "0.5 is too small: at least 1"}


def test_details_at_their_bounds() -> None:
    made = CollectorConfig(
        "binance",
        "spot",
        ["BTCUSDT"],
        lanes=4,
        time_unit="microsecond",
        snapshot_levels=5000,
        rotate_seconds=1,
        latency_budget=0.001,
    )
    assert (made.lanes, made.rotate_seconds, made.latency_budget) == (4, 1.0, 0.001)
    assert CollectorConfig("binance", "spot", ["A"], latency_budget=1).latency_budget == 1.0
    assert CollectorConfig("binance", "usdm", ["A"], poll_seconds=1).poll_seconds == 1.0
    assert (
        CollectorConfig("bybit", "linear", ["A"], snapshot_levels=10_000).snapshot_levels == 10_000
    )
    assert CollectorConfig("binance", "spot", ["A"], snapshot_levels=1).snapshot_levels == 1
    assert CollectorConfig("binance", "coinm", ["A"], snapshot_levels=5).snapshot_levels == 5


@pytest.mark.parametrize("symbol", ["*", "BTC*", "?-1-C", "*-25JUN27-*"])
def test_patterns_of_options_name_their_coin(symbol: str) -> None:
    """Bybit lists the options of one base coin at a time."""
    assert of_collector(exchange="bybit", market="option", symbols=["ETH-1-C", symbol]) == {
        "collectors[0].symbols[1]": (
            f"{symbol!r} names no base coin: bybit/option lists each coin by itself; "
            "write it as 'BTC-*'"
        )
    }
    made = CollectorConfig("bybit", "option", ["BTC-*", "ETH-?5JUN27-*-C"])
    assert made.symbols == ("BTC-*", "ETH-?5JUN27-*-C")


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
        (InstrumentsConfig, "refresh_seconds", 0, "0.0 is not above 0"),
        (InstrumentsConfig, "start_seconds", -0.1, "-0.1 is too small: at least 0"),
        (ClusterConfig, "heartbeat_seconds", 0, "0.0 is not above 0"),
        (
            ClusterConfig,
            "hang_seconds",
            0.9,
            "0.9 is too small: at least 4 times heartbeat_seconds, which is 0.25",
        ),
        (ClusterConfig, "memory_limit", 2**26 - 1, "67108863 is too small: at least 67108864"),
        (ClusterConfig, "intensity", -1, "-1 is too small: at least 0"),
        (ClusterConfig, "period", 0, "0.0 is not above 0"),
    ],
)
def test_numbers_out_of_bounds(table: Any, name: str, value: float, message: str) -> None:
    places = {
        SupervisionConfig: "supervision",
        StorageConfig: "storage",
        InstrumentsConfig: "instruments",
        ClusterConfig: "cluster",
    }
    place = places[table]
    [(path, found)] = faults(document(**{place: {name: value}})).items()
    assert path == f"{place}.{name}"
    assert found.startswith(message)
    assert faults(lambda: table(**{name: value})) == {name: found}


def test_the_bounds_themselves_are_allowed() -> None:
    made = SupervisionConfig(backoff_initial=30, intensity=0, drain_seconds=0)
    assert (made.backoff_initial, made.backoff_cap, made.intensity) == (30.0, 30.0, 0)
    assert StorageConfig(flush_rows=1, flush_bytes=1).flush_rows == 1
    assert ClusterConfig(heartbeat_seconds=10, hang_seconds=40).hang_seconds == 40.0
    assert ClusterConfig(memory_limit=2**26, intensity=0).memory_limit == 2**26


def test_a_slow_heart_needs_more_patience() -> None:
    assert faults(document(cluster={"heartbeat_seconds": 2})) == {
        "cluster.hang_seconds": "5 is too small: at least 4 times heartbeat_seconds, which is 2"
    }
    assert faults(document(cluster={"heartbeat_seconds": 20, "hang_seconds": 100})) == {
        "cluster.heartbeat_seconds": "20.0 is too large: at most 10"
    }


def test_processes_and_shares() -> None:
    assert faults(document(processes=0)) == {"processes": "0 is too small: at least 1"}
    assert faults(document(processes=257)) == {"processes": "257 is too large: at most 256"}
    assert faults(document(shard="0/8")) == {"shard": "'0/8': the first shard is 1/8"}
    assert faults(document(shard="8")) == {
        "shard": "'8' is no share: write it as 2/8, the second of eight"
    }
    assert faults(document(shard=2)) == {"shard": "expected a string, got the integer 2"}


def test_queues_are_bounded_by_something() -> None:
    found = faults(document(mailbox_bytes=0, subscriber_bytes=-1))
    assert found == {
        "mailbox_bytes": "0 is too small: at least 1",
        "subscriber_bytes": "-1 is too small: at least 1",
    }


BOOK = "a book of {} needs ws and rest of the same server"
INTEREST = "open interest of {} is polled: it needs ws and rest of the same server"
PATTERN = "a pattern of symbols needs ws and rest of the same server"


@pytest.mark.parametrize(
    ("market", "changes", "given", "reason"),
    [
        ("binance/spot", {"streams": ["book"]}, "ws", BOOK),
        ("binance/spot", {"streams": ["trade", "book@1000ms"]}, "rest", BOOK),
        ("binance/usdm", {"streams": ["book"]}, "ws", BOOK),
        ("bybit/linear", {"streams": ["book:full"]}, "ws", BOOK),
        ("binance/coinm", {"streams": ["open_interest"]}, "ws", INTEREST),
        ("binance/usdm", {"streams": ["open_interest"]}, "rest", INTEREST),
        ("binance/spot", {"symbols": ["BTCUSDT", "*USDT"]}, "ws", PATTERN),
        ("bybit/linear", {"symbols": ["BTCUSD?"]}, "ws", PATTERN),
        ("bybit/option", {"symbols": ["BTC-*"]}, "rest", PATTERN),
        ("binance/spot", {"streams": ["trade", "book:20"]}, "ws", ""),
        ("bybit/spot", {"streams": ["book"]}, "ws", ""),
        ("bybit/linear", {"streams": ["ticker"]}, "ws", ""),  # open interest comes in it
        ("binance/usdm", {"symbols": [], "market_streams": ["ticker"]}, "ws", ""),
    ],
)
def test_what_needs_rest_and_a_socket_takes_both_addresses_or_none(
    market: str, changes: dict[str, Any], given: str, reason: str
) -> None:
    """Else a book of a test server would be joined with snapshots of the live one."""
    urls = {"ws": "ws://127.0.0.1:1", "rest": "http://127.0.0.1:1"}
    (missing,) = urls.keys() - {given}
    exchange, _, name = market.partition("/")

    def one(**endpoints: str) -> dict[str, Any]:
        return document(
            collectors=[collector(exchange=exchange, market=name, endpoints=endpoints, **changes)]
        )

    for both_or_none in ({}, urls):
        assert load_config(one(**both_or_none)).collectors
    half = one(**{given: urls[given]})
    if reason:
        path, message = f"collectors[0].endpoints.{missing}", f"missing: {reason.format(market)}"
        assert faults(half) == {path: message}
    else:
        assert load_config(half).collectors


def test_a_pattern_needs_the_list_of_instruments() -> None:
    """Without it nobody knows what it stands for, and nothing would be collected."""
    plain, patterns = collector(symbols=["A"]), collector(symbols=["B", "*USDT", "BTC?"])
    unchecked = {"check": False}
    assert faults(document(collectors=[plain, patterns], instruments=unchecked)) == {
        f"collectors[1].symbols[{index}]": (
            f"{name!r} stands for symbols that are looked up in the venue's list: "
            "it needs instruments.check"
        )
        for index, name in ((1, "*USDT"), (2, "BTC?"))
    }
    assert load_config(document(collectors=[plain, patterns])).instruments.check
    assert load_config(document(collectors=[plain], instruments=unchecked)).collectors
