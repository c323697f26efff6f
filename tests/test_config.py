from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import cattrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import farm.config
from farm.config import (
    _CONVERTER,
    CollectorConfig,
    ConfigErrors,
    Endpoints,
    FarmConfig,
    StorageConfig,
    SupervisionConfig,
    known_values,
    load_config,
    parse_toml,
    stream_specs_help,
)
from farm.config_schema import config_schema
from farm.errors import ConfigError
from farm.exchanges.registry import MARKETS, rules_of
from farm.types import Exchange, Market, NumberMode, TimeFrame
from tests.effort import runs


def collector(**changes: Any) -> dict[str, Any]:
    return {"exchange": "binance", "market": "spot", "symbols": ["BTCUSDT"]} | changes


def document(**changes: Any) -> dict[str, Any]:
    return {"collectors": [collector()]} | changes


def faults(make: Callable[[], Any] | dict[Any, Any]) -> dict[str, str]:
    """The messages of everything wrong, by path; several of one path are joined."""
    with pytest.raises(ConfigErrors) as caught:
        load_config(make) if isinstance(make, dict) else make()
    errors = caught.value.errors
    assert (caught.value.path, caught.value.message) == (errors[0].path, errors[0].message)
    assert str(caught.value).splitlines() == [str(error) for error in errors]
    found: dict[str, str] = {}
    for error in errors:
        found[error.path] = found.get(error.path, "") + error.message
    return found


def of_collector(**changes: Any) -> dict[str, str]:
    """What is wrong with one collector, by paths within it: the same in a file and in Python."""
    values = collector(**changes)
    if "endpoints" in values:
        values["endpoints"] = dict(values["endpoints"])
    in_file = faults({"collectors": [values]})
    assert faults(lambda: CollectorConfig(**values)) == {
        path.removeprefix("collectors[0]."): message for path, message in in_file.items()
    }
    return in_file


def example_toml() -> str:
    text = inspect.cleandoc(farm.config.__doc__ or "").partition("::\n")[2]
    return textwrap.dedent(text.partition("\nTypes are strict")[0])


# What is right


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


@pytest.mark.parametrize(
    "symbol", ["T", "1000SATSUSDT", "BTCUSDT_260925", "BTC-25JUN27-106000-C", "XRP-0.4-P", "币安"]
)
def test_symbols_of_every_shape(symbol: str) -> None:
    assert CollectorConfig("bybit", "spot", [symbol]).symbols == (symbol,)


def test_stream_specs_help() -> None:
    assert stream_specs_help(Exchange.BYBIT, Market.LINEAR) == (
        "trade, quote, book, book:{50,200,1000}, kline:{1m,3m,5m,15m,30m,1h,2h,4h,6h,12h,1d,1w,1M}"
    )
    with pytest.raises(KeyError):
        stream_specs_help(Exchange.BINANCE, Market.OPTION)


# Keys and types


def test_unknown_keys_at_every_level() -> None:
    found = faults(
        document(
            colectors=1,
            storage={"flush_row": 1},
            collectors=[collector(streems=["trade"], endpoints={"a b": 1})],
        )
    )
    assert set(found) == {
        "colectors",
        "storage.flush_row",
        "collectors[0].streems",
        "collectors[0].endpoints.'a b'",
    }
    assert (
        "unknown key 'streems'; did you mean 'streams'? possible: 'exchange',"
        in (found["collectors[0].streems"])
    )


def test_keys_that_are_no_strings() -> None:
    assert list(faults(document() | {7: 1, 10**5000: 2})) == ["7", "'<16610 bits>'"]


def test_missing_keys() -> None:
    assert faults({}) == {
        "collectors": "is missing. What to collect, one [[collectors]] table or more."
    }
    found = faults({"collectors": [collector(), {}]})
    assert set(found) == {f"collectors[1].{key}" for key in ("exchange", "market", "symbols")}
    assert found["collectors[1].exchange"] == "is missing. The venue to collect from."


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"mailbox_bytes": "7"}, "mailbox_bytes", "expected an integer, got the string '7'"),
        ({"mailbox_bytes": True}, "mailbox_bytes", "expected an integer, got the boolean true"),
        ({"mailbox_bytes": 1.0}, "mailbox_bytes", "expected an integer, got the float 1.0"),
        ({"mailbox_bytes": None}, "mailbox_bytes", "expected an integer, got None"),
        (
            {"storage": {"flush_seconds": "7"}},
            "storage.flush_seconds",
            "expected a finite number, got the string '7'",
        ),
        (
            {"storage": {"flush_seconds": True}},
            "storage.flush_seconds",
            "expected a finite number, got the boolean true",
        ),
        (
            {"storage": {"flush_seconds": float("nan")}},
            "storage.flush_seconds",
            "expected a finite number, got the float nan",
        ),
        (
            {"storage": {"flush_seconds": 10**400}},
            "storage.flush_seconds",
            "expected a finite number, got the integer <1329 bits>",
        ),
        ({"storage": [1]}, "storage", "expected a table, got the list [1]"),
        ({"data": 7}, "data", "expected a path as a string, got the integer 7"),
        ({"data": " "}, "data", "' ' is no path"),
        ({"data": "a\0b"}, "data", r"'a\x00b' is no path"),
        (
            {"numbers": 1},
            "numbers",
            "expected one of 'float', 'decimal', got the integer 1",
        ),
        (
            {"numbers": "Decimal"},
            "numbers",
            "unknown number mode 'Decimal'; did you mean 'decimal'? possible: 'float', 'decimal'",
        ),
        (
            {"supervision": {"escalate": "prak"}},
            "supervision.escalate",
            "unknown value 'prak'; did you mean 'park'? possible: 'raise', 'park'",
        ),
        (
            {"supervision": {"escalate": ["park"]}},
            "supervision.escalate",
            "expected one of 'raise', 'park', got the list ['park']",
        ),
    ],
)
def test_wrong_types(changes: dict[str, Any], path: str, message: str) -> None:
    assert faults(document(**changes)) == {path: message}
    made = CollectorConfig("binance", "spot", ["BTCUSDT"])
    assert faults(lambda: FarmConfig([made], **changes)) == {path: message}


def test_a_boolean_is_no_integer() -> None:
    """No field is a boolean yet; cattrs by itself would take 1 for true."""
    assert _CONVERTER.structure(True, bool) is True
    with pytest.raises(ConfigError, match="expected a boolean, got the integer 1"):
        _CONVERTER.structure(1, bool)


def test_lists_of_the_wrong_type() -> None:
    assert of_collector(symbols="BTCUSDT") == {
        "collectors[0].symbols": ("expected a list, got the string 'BTCUSDT'; write ['BTCUSDT']")
    }
    assert of_collector(streams=["trade", 7]) == {
        "collectors[0].streams[1]": "expected a string, got the integer 7"
    }
    found = faults({"collectors": collector()})["collectors"]
    assert found.endswith("TOML writes each table of a list under double brackets, [[...]]")
    assert faults({"collectors": [7]}) == {"collectors[0]": "expected a table, got the integer 7"}


@pytest.mark.parametrize("source", [None, 7, ["collectors"], CollectorConfig])
def test_sources_that_are_no_table(source: Any) -> None:
    assert faults(lambda: load_config(source))[""].startswith("expected a table, got")


# Rules


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


def test_everything_is_reported_at_once() -> None:
    found = faults(
        {
            "collectors": [
                collector(symbols=[7], streams=["trade", "kline:7m"], surplus=1),
                collector(market="usdm", endpoints={"ws": 7, "rest": "ftp://h"}),
            ],
            "numbers": "exact",
            "supervision": {"period": "x", "backoff_cap": 0.1},
            "mailbox_bytes": 0,
        }
    )
    assert set(found) == {
        "collectors[0].symbols[0]",
        "collectors[0].streams[1]",
        "collectors[0].surplus",
        "collectors[1].market",
        "collectors[1].endpoints.ws",
        "collectors[1].endpoints.rest",
        "numbers",
        "supervision.period",
        "supervision.backoff_cap",
        "mailbox_bytes",
    }


def test_values_are_shown_shortly() -> None:
    found = faults(document(numbers="x" * 10_000, data=["y" * 10_000] * 50))
    assert all(len(message) < 400 for message in found.values())


# Files


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "farm").mkdir()
    (tmp_path / "farm" / "ca.pem").write_text("PEM")
    file = tmp_path / "farm" / "farm.toml"
    file.write_text(
        'data = "../out"\n[[collectors]]\nexchange = "binance"\nmarket = "spot"\n'
        'symbols = ["BTCUSDT"]\nendpoints.ca_file = "ca.pem"\n'
    )
    monkeypatch.chdir(tmp_path)
    for source in (file, str(file), "farm/farm.toml"):
        config = load_config(source)
        assert config.data == tmp_path / "farm" / ".." / "out"
        assert config.collectors[0].endpoints.ca_file == tmp_path / "farm" / "ca.pem"
    assert load_config(config) == config


def test_paths_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert load_config(document(data="out")).data == tmp_path / "out"
    assert load_config(document(data="~/out")).data == tmp_path / "home" / "out"
    made = FarmConfig([CollectorConfig("binance", "spot", ["A"])], data=Path("out"))
    assert load_config(made).data == tmp_path / "out"
    assert load_config(document(data=str(tmp_path / "a"))).data == tmp_path / "a"


def test_no_such_home() -> None:
    found = faults(document(data="~nobody-by-this-name/x"))
    assert found == {"data": "'~nobody-by-this-name/x': no home directory is known for it"}


def test_authorities_that_cannot_be_read(tmp_path: Path) -> None:
    found = faults(
        {
            "collectors": [
                collector(endpoints={"ca_file": str(tmp_path / "none.pem")}),
                collector(symbols=["B"], endpoints={"ca_file": str(tmp_path)}),
            ]
        }
    )
    assert set(found) == {f"collectors[{index}].endpoints.ca_file" for index in (0, 1)}
    assert found["collectors[0].endpoints.ca_file"].endswith("No such file or directory")
    assert found["collectors[1].endpoints.ca_file"].endswith("Is a directory")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = [1\nb", "not valid TOML: Unclosed array (at line 2, column 1)"),
        (b"numbers 'float'", "(at line 1, column 9)"),
        (b"x = " + b"9" * 5000, "not valid TOML: Exceeds the limit"),
        (b"x = " + b"[" * 100_000, "nested too deeply"),
        (b"# fine\n# \xff", "not UTF-8 text: byte 0xff in line 2"),
    ],
)
def test_files_that_are_not_toml(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "farm.toml"
    file.write_bytes(content)
    found = faults(lambda: load_config(file))
    assert list(found) == [""]
    assert found[""].startswith(f"{file}: ")
    assert message in found[""]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    assert faults(lambda: load_config(missing)) == {
        "": f"{missing}: cannot be read: No such file or directory"
    }
    assert faults(lambda: load_config(str(tmp_path))) == {
        "": f"{tmp_path}: cannot be read: Is a directory"
    }
    assert "cannot be read: " in faults(lambda: load_config("a\0b"))[""]


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "farm.toml"
    file.write_text(example_toml(), encoding="utf-8-sig")
    assert load_config(file) == attrs.evolve(
        parse_toml(example_toml()), data=tmp_path / "market-data"
    )


def test_errors_say_which_text_they_are_of() -> None:
    with pytest.raises(ConfigErrors) as caught:
        parse_toml("collectors = []", name="mine.toml")
    assert caught.value.path == "collectors"
    assert caught.value.__notes__ == ["in mine.toml"]
    with pytest.raises(ConfigErrors, match=re.escape("mine.toml: not valid TOML: ")):
        parse_toml("=", name="mine.toml")


# Anything else


_NAMES = sorted(
    {field.name for cls in (FarmConfig, CollectorConfig, Endpoints) for field in attrs.fields(cls)}
    | {field.name for cls in (SupervisionConfig, StorageConfig) for field in attrs.fields(cls)}
)
_WORDS = [*known_values(Exchange), *known_values(Market), "trade", "book:50", "BTCUSDT", "~x", "\0"]
_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(), max_size=8),
    st.sampled_from(_WORDS),
)
_JUNK = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_NAMES) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(max_examples=runs(200), deadline=None)
@given(st.dictionaries(st.sampled_from(_NAMES) | st.text(max_size=5), _JUNK))
@example({"collectors": [[]], "numbers": {}})
@example({"collectors": [{"symbols": [["x"]], "exchange": {}, "endpoints": {"ws": "ws://["}}]})
def test_junk_is_refused_by_a_config_error_and_nothing_else(junk: dict[str, Any]) -> None:
    assert faults(junk)


@settings(max_examples=runs(200), deadline=None)
@given(data=st.data())
def test_a_good_document_with_one_piece_of_junk(data: st.DataObject) -> None:
    """Either it is still good, or the fault lies where the junk was put."""
    good = collector(streams=["trade"], endpoints={"ws": "ws://h", "rest": "http://h"})
    whole = document(
        collectors=[good], storage={"flush_rows": 1}, supervision={"period": 1, "backoff_cap": 50}
    )
    places = [
        (whole, "numbers"),
        (whole, "data"),
        (whole, "mailbox_bytes"),
        (whole, "storage"),
        (whole["storage"], "flush_rows"),
        (whole["supervision"], "period"),
        (good, "exchange"),
        (good, "market"),
        (good, "symbols"),
        (good, "streams"),
        (good["endpoints"], "ws"),
        (good["endpoints"], "ca_file"),
    ]
    table, key = data.draw(st.sampled_from(places))
    table[key] = data.draw(_JUNK)
    # A good exchange and a good market may not go together: the market is blamed.
    blamed = ("exchange", "market") if key == "exchange" else (key,)
    try:
        config = load_config(whole)
    except ConfigErrors:
        assert all(any(part in path for part in blamed) for path in faults(whole))
    else:
        assert load_config(config) == config


def test_what_is_made_can_be_written_down_and_read_again() -> None:
    config = parse_toml(example_toml())
    assert load_config(_without_none(cattrs.unstructure(config))) == config


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return str(value) if isinstance(value, Path) else value


# The schema


def accepts(schema: dict[str, Any], value: Any) -> bool:
    """Whether `value` satisfies `schema`; a keyword that config_schema does not use is an error."""
    if "additionalProperties" in schema:
        assert schema["additionalProperties"] is False
        if isinstance(value, dict) and not set(value) <= set(schema["properties"]):
            return False
    if "if" in schema and accepts(schema["if"], value) and not accepts(schema["then"], value):
        return False
    return all(
        _KEYWORDS[name](rule, value)
        for name, rule in schema.items()
        if name not in ("additionalProperties", "if", "then")
    )


_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": int | float,
}


def _applies(kind: Any, rule: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """A keyword of JSON Schema says nothing of values of other types than its own."""
    return lambda limit, value: not isinstance(value, kind) or rule(limit, value)


_KEYWORDS: dict[str, Callable[[Any, Any], bool]] = {
    **dict.fromkeys(("$schema", "title", "description", "default"), lambda _, value: True),
    "type": lambda kind, v: isinstance(v, _TYPES[kind]) and not isinstance(v, bool),
    "enum": lambda known, v: v in known,
    "const": lambda known, v: bool(v == known),
    "pattern": _applies(str, lambda pattern, v: re.search(pattern, v) is not None),
    "minimum": _applies(int | float, lambda least, v: v >= least),
    "exclusiveMinimum": _applies(int | float, lambda bound, v: v > bound),
    "minItems": _applies(list, lambda least, v: len(v) >= least),
    "uniqueItems": _applies(list, lambda _, v: all(v.count(item) == 1 for item in v)),
    "items": _applies(list, lambda part, v: all(accepts(part, item) for item in v)),
    "required": _applies(dict, lambda names, v: all(name in v for name in names)),
    "properties": _applies(
        dict, lambda parts, v: all(accepts(parts[k], item) for k, item in v.items() if k in parts)
    ),
    "allOf": lambda parts, v: all(accepts(part, v) for part in parts),
}


GOOD: list[dict[str, Any]] = [
    document(),
    document(numbers="decimal", data="x", mailbox_bytes=1),
    document(supervision={"escalate": "park", "intensity": 0, "period": 1, "drain_seconds": 0.5}),
    document(collectors=[collector(streams=["agg_trade", "book:20", "kline:1s"])]),
    document(collectors=[collector(exchange="bybit", market="linear", streams=["book:50"])]),
    document(collectors=[collector(endpoints={"ws": "wss://h:1", "rest": "http://[::1]/x"})]),
    document(collectors=[collector(symbols=["币安人生USDT", "BTCUSDT_260925"])]),
]
BAD: list[dict[str, Any]] = [
    {},
    document(collectors=[]),
    document(surplus=1),
    document(numbers="exact"),
    document(data=7),
    document(mailbox_bytes=0),
    document(mailbox_bytes="7"),
    document(mailbox_bytes=True),
    document(storage={"flush_seconds": 0}),
    document(storage={"flush_row": 1}),
    document(supervision={"escalate": "stop"}),
    document(collectors=[{}]),
    document(collectors=[collector(exchange="kraken")]),
    document(collectors=[collector(market="linear")]),
    document(collectors=[collector(exchange="bybit", market="usdm")]),
    document(collectors=[collector(symbols=[])]),
    document(collectors=[collector(symbols=["A", "A"])]),
    document(collectors=[collector(symbols=["btcusdt"])]),
    document(collectors=[collector(symbols=["BTC/USDT"])]),
    document(collectors=[collector(symbols=["BTC\u200bUSDT"])]),
    document(collectors=[collector(symbols=[""])]),
    document(collectors=[collector(symbols="A")]),
    document(collectors=[collector(streams=["kline:7m"])]),
    document(collectors=[collector(exchange="bybit", streams=["agg_trade"])]),
    document(collectors=[collector(endpoints={"ws": "http://h"})]),
    document(collectors=[collector(endpoints={"rest": "http://"})]),
    document(collectors=[collector(endpoints={"host": "h"})]),
]


@pytest.mark.parametrize("good", GOOD)
def test_the_schema_accepts_what_load_config_accepts(good: dict[str, Any]) -> None:
    load_config(good)
    assert accepts(config_schema(), good)


@pytest.mark.parametrize("bad", BAD)
def test_the_schema_refuses_what_load_config_refuses(bad: dict[str, Any]) -> None:
    assert faults(bad)
    assert not accepts(config_schema(), bad)


def test_the_schema_is_json_and_describes_every_field() -> None:
    schema = config_schema()
    assert json.loads(json.dumps(schema, allow_nan=False)) == schema
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"

    def described(table: dict[str, Any]) -> set[str]:
        names = set()
        for name, entry in table["properties"].items():
            assert entry["description"].endswith(".")
            names |= {name} | (described(entry) if "properties" in entry else set())
            if "properties" in entry.get("items", {}):
                names |= described(entry["items"])
        assert table["additionalProperties"] is False
        return names

    assert described(schema) == set(_NAMES)


def test_the_schemas_defaults_are_the_classes_own() -> None:
    properties = config_schema()["properties"]
    one = properties["collectors"]["items"]["properties"]
    assert "default" not in one["exchange"]
    assert one["streams"]["default"] == ["trade"]
    assert properties["numbers"]["default"] == "float"
    tables = ("supervision", "storage")
    written = {
        name: {key: entry["default"] for key, entry in properties[name]["properties"].items()}
        for name in tables
    }
    assert load_config(document(**written)) == load_config(document())
