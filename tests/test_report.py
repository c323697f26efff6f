from __future__ import annotations

import io
import json
from typing import Any

import attrs
import pytest

from farm.api.stats import BookStats, ConnectionStats, FarmStats, FeedStats, Totals
from farm.report import Reporter, summary_object

BOOK = BookStats("verified", 1, 10, 9, 4, 1, 0)


def stats(**changes: Any) -> FarmStats:
    feed = FeedStats("binance/spot/BTCUSDT/book", "live", "", 11, 2, 5, 1.25, 3.5, BOOK)
    refused = FeedStats(
        "binance/spot/X/trade", "failed", "no such topic", 0, 1, None, None, None, None
    )
    connection = ConnectionStats("binance/spot#1", "running", 1, 0, 0, 12, 1_000, "")
    totals = Totals(12, 11, 3, 1, 0, 0)
    given = FarmStats(totals, [feed, refused], [connection], {"binance/spot odd": 1}, {}, 11, 2)
    return attrs.evolve(given, **changes)


def test_the_summary_has_feeds_by_name_and_is_json() -> None:
    summary = json.loads(json.dumps(summary_object(stats(), {"seconds": 1.5})))
    assert summary["seconds"] == 1.5
    assert summary["totals"]["gaps"] == 3
    assert summary["feeds"]["binance/spot/BTCUSDT/book"]["book"]["compared"] == 4
    assert summary["feeds"]["binance/spot/X/trade"]["reason"] == "no such topic"
    assert summary["connections"][0]["name"] == "binance/spot#1"
    assert (summary["rows_written"], summary["files_written"]) == (11, 2)


def test_json_is_one_object_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    reporter = Reporter("x", as_json=True, out=out)
    reporter.note("for the reader")
    reporter.finish(stats())
    assert json.loads(out.getvalue())["totals"]["events"] == 11
    assert "for the reader" in capsys.readouterr().err


def test_the_table_tells_what_matters() -> None:
    out = io.StringIO()
    Reporter("x", out=out).finish(stats())
    text = out.getvalue()
    row = next(line for line in text.splitlines() if line.startswith("binance/spot/BTCUSDT/book"))
    assert row.split()[1:] == ["live", "verified", "11", "3.5", "1.2", "2", "3/4"]
    assert "binance/spot/X/trade: no such topic" in text
    assert "kept unparsed: 1 of binance/spot odd" in text
    assert "3 gaps" in text
    assert "11 rows in 2 files" in text
