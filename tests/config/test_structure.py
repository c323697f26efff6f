from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from farm.config import CollectorConfig, ConfigErrors, FarmConfig, known_values, load_config
from farm.config.structure import structure
from farm.errors import ConfigError
from farm.types import Exchange, Market
from tests.config.documents import FIELD_NAMES, collector, document, faults, of_collector
from tests.effort import runs


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
    assert found["collectors[1].symbols"] == "is empty: name symbols, or market_streams"


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
        ({"instruments": False}, "instruments", "expected a table, got the boolean false"),
        (
            {"instruments": {"refresh_seconds": True}},
            "instruments.refresh_seconds",
            "expected a finite number, got the boolean true",
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


@pytest.mark.parametrize(("value", "kind"), [(1, "integer 1"), ("yes", "string 'yes'")])
def test_what_is_no_boolean_is_not_taken_for_one(value: Any, kind: str) -> None:
    """cattrs by itself would take either for true."""
    path, message = "instruments.check", f"expected a boolean, got the {kind}"
    assert faults(document(instruments={"check": value})) == {path: message}
    with pytest.raises(ConfigError, match=message):
        structure(value, bool)
    assert load_config(document(instruments={"check": False})).instruments.check is False


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("market_streams", "mark_price", "expected a list, got the string 'mark_price'; write "),
        ("lanes", 2.0, "expected an integer, got the float 2.0"),
        ("lanes", True, "expected an integer, got the boolean true"),
        ("snapshot_levels", "all", "expected an integer, got the string 'all'"),
        ("poll_seconds", "1 min", "expected a finite number, got the string '1 min'"),
        ("rotate_seconds", float("inf"), "expected a finite number, got the float inf"),
        ("time_unit", "ms", "unknown value 'ms'; possible: 'millisecond', 'microsecond'"),
        ("time_unit", "us", "unknown value 'us'; possible: 'millisecond', 'microsecond'"),
        ("time_unit", 1, "expected one of 'millisecond', 'microsecond', got the integer 1"),
    ],
)
def test_wrong_types_in_a_collector(name: str, value: Any, message: str) -> None:
    [(path, found)] = of_collector(**{name: value}).items()
    assert path == f"collectors[0].{name}"
    assert found.startswith(message)


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


def test_everything_is_reported_at_once() -> None:
    found = faults(
        {
            "collectors": [
                collector(symbols=[7], streams=["trade", "kline:7m"], surplus=1),
                collector(market="swap", endpoints={"ws": 7, "rest": "ftp://h"}),
                collector(
                    market="usdm",
                    market_streams=["trade", 7],
                    lanes=0,
                    time_unit="second",
                    poll_seconds="often",
                ),
            ],
            "instruments": {"check": 1, "start_seconds": -1},
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
        "collectors[2].market_streams[1]",
        "collectors[2].lanes",
        "collectors[2].time_unit",
        "collectors[2].poll_seconds",
        "instruments.check",
        "instruments.start_seconds",
        "numbers",
        "supervision.period",
        "supervision.backoff_cap",
        "mailbox_bytes",
    }


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
        | st.dictionaries(st.sampled_from(FIELD_NAMES) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(max_examples=runs(200), deadline=None)
@given(st.dictionaries(st.sampled_from(FIELD_NAMES) | st.text(max_size=5), _JUNK))
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
        collectors=[good],
        storage={"flush_rows": 1},
        supervision={"period": 1, "backoff_cap": 50},
        instruments={"check": True},
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
        (good, "market_streams"),
        (good, "lanes"),
        (good, "time_unit"),
        (good, "snapshot_levels"),
        (good, "poll_seconds"),
        (good, "rotate_seconds"),
        (whole["instruments"], "check"),
        (whole["instruments"], "refresh_seconds"),
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
