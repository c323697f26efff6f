from __future__ import annotations

import io
import json
from typing import Any

import attrs
import pytest
from rich.console import Console
from trio.testing import MockClock

from farm.exchanges.catalogue import describe_market
from farm.exchanges.registry import MARKETS, rules_of
from farm.monitor.stats import (
    BookStats,
    ConnectionStats,
    ContinuityStats,
    FarmStats,
    FeedStats,
    ProcessStats,
    Totals,
)
from farm.report import Reporter, print_offers, summary_object
from farm.types import Exchange, Market

BOOK = BookStats("verified", 1, 10, 9, 4, 1, 0)
IDS = ContinuityStats("incomplete", 30, 2, 3, 0, 0, 1)


def feed(name: str, **changes: Any) -> FeedStats:
    plain = FeedStats(name, "live", "", 11, 2, 5, 1.25, 3.5, None, None)
    return attrs.evolve(plain, **changes)


def stats(**changes: Any) -> FarmStats:
    feeds = [
        feed("binance/spot/BTCUSDT/book", book=BOOK),
        feed("binance/spot/BTCUSDT/trade", continuity=IDS),
        FeedStats(
            "binance/spot/X/trade", "failed", "no such topic", 0, 1, None, None, None, None, None
        ),
        feed("binance/spot/Y/instrument", state="", lag_ms=None, rate=None, gaps=0),
    ]
    connections = [
        ConnectionStats("binance/spot#1", "running", 1, 0, 0, 12, 1_000, "", 40, 38, 1),
        ConnectionStats("binance/spot#1~2", "backing_off", 3, 2, 0, 9, 800, "reset", 2, 35, 5),
    ]
    given = FarmStats(
        Totals(12, 11, 3, 1, 0, 2, 4),
        feeds,
        connections,
        {"binance/spot odd": 1},
        {"binance/spot side": 6},
        {"binance/usdm !ticker@arr": 7},
        11,
        2,
    )
    return attrs.evolve(given, **changes)


def test_the_summary_has_feeds_by_name_and_is_json() -> None:
    summary = json.loads(json.dumps(summary_object(stats(), {"seconds": 1.5})))
    assert summary["seconds"] == 1.5
    assert summary["totals"]["gaps"] == 3
    assert summary["feeds"]["binance/spot/BTCUSDT/book"]["book"]["compared"] == 4
    assert summary["feeds"]["binance/spot/X/trade"]["reason"] == "no such topic"
    assert summary["feeds"]["binance/spot/BTCUSDT/trade"]["continuity"] == {
        "completeness": "incomplete",
        "checked": 30,
        "missing": 2,
        "spent": 3,
        "repeats": 0,
        "unadjoined": 0,
        "disproved": 1,
    }
    assert summary["feeds"]["binance/spot/X/trade"]["continuity"] is None
    assert summary["totals"]["rotations"] == 4
    assert summary["foreign"] == {"binance/usdm !ticker@arr": 7}
    first, second = summary["connections"]
    assert (first["name"], second["name"]) == ("binance/spot#1", "binance/spot#1~2")
    assert (second["firsts"], second["copies"], second["misses"]) == (2, 35, 5)
    assert (summary["rows_written"], summary["files_written"]) == (11, 2)


def test_json_is_one_object_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    reporter = Reporter("x", as_json=True, out=out)
    reporter.note("for the reader")
    reporter.finish(stats())
    assert json.loads(out.getvalue())["totals"]["events"] == 11
    assert "for the reader" in capsys.readouterr().err


def table_row(text: str, name: str) -> list[str]:
    (row,) = [line for line in text.splitlines() if line.split()[:1] == [name]]
    return row.split()[1:]


def test_the_table_tells_what_matters() -> None:
    out = io.StringIO()
    Reporter("x", out=out).finish(stats())
    text = out.getvalue()
    book = table_row(text, "binance/spot/BTCUSDT/book")
    assert book == ["live", "verified", "11", "3.5", "1.2", "2", "3/4"]
    assert "binance/spot/X/trade: no such topic" in text
    assert "kept unparsed: 1 of binance/spot odd" in text
    assert "unknown value: 6 of binance/spot side" in text
    assert "3 gaps" in text
    assert "2 reconnects  4 rotations" in text
    assert "11 rows in 2 files" in text


def test_of_trades_the_table_tells_what_their_ids_prove() -> None:
    out = io.StringIO()
    ids = {word: attrs.evolve(IDS, completeness=word) for word in ("complete", "unknown")}
    feeds = [feed(f"x/{word}", continuity=found) for word, found in ids.items()]
    Reporter("x", out=out).finish(stats(feeds=[*stats().feeds, *feeds]))
    text = out.getvalue()
    trades = table_row(text, "binance/spot/BTCUSDT/trade")
    assert trades == ["live", "11", "3.5", "1.2", "2", "incomplete"]
    assert table_row(text, "x/complete")[-1] == "complete"
    assert table_row(text, "x/unknown")[-1] == "unknown"


async def test_shards_are_shown_and_those_that_were_replaced_are_told(
    autojump_clock: MockClock,
) -> None:
    main = ProcessStats("main", 1, "running", 0, 0, None, None, None, 0, "")
    shard = ProcessStats("shard 1", 2, "restarting", 1, 9, None, None, None, 2, "killed by SIGKILL")
    shown, out = stats(processes=[main, shard]), io.StringIO()
    reporter = Reporter("farm run", out=out)
    reporter.finish(shown)
    assert "shard 1: replaced 2 times: killed by SIGKILL" in out.getvalue()
    view = io.StringIO()
    Console(file=view, width=200).print(reporter._view(shown, 0.0))
    assert "shard 1 restarting" in view.getvalue()


def test_a_feed_that_no_stream_is_for_has_a_row_without_state() -> None:
    out = io.StringIO()
    Reporter("x", out=out).finish(stats())
    assert table_row(out.getvalue(), "binance/spot/Y/instrument") == ["11", "0"]


@pytest.mark.parametrize(("exchange", "market"), MARKETS)
def test_offers_are_printed_whole(exchange: Exchange, market: Market) -> None:
    out = io.StringIO()
    offer = describe_market(rules_of(exchange, market))
    print_offers([offer], out)
    head, titles, *lines = out.getvalue().splitlines()
    assert head.split() == [offer.market, offer.ws, offer.rest]
    assert titles.startswith("stream ")
    for stream in offer.streams:
        word = stream.stream + " (whole market)" * stream.whole_market
        (row,) = [line for line in lines if line.startswith(f"{word}  ")]
        assert row.split("  ")[0] == word
        for part in (stream.name, ", ".join(stream.gives), stream.proof):
            assert part in row
        if stream.details:
            assert f"  {stream.stream}: {stream.choice}" in lines
    flat = " ".join(" ".join(lines).split())  # as it may be wrapped
    assert all(limit.text in flat for limit in offer.limits)
