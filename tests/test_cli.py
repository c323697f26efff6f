"""The command line as a user meets it: real processes, real files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.dataset
import pytest

from farm.exchanges.registry import MARKETS
from farm.types import Exchange
from tests.recordings import recording

FARM = [sys.executable, "-m", "farm.cli"]
PATIENCE = 120.0
SPOT = '[[collectors]]\nexchange="binance"\nmarket="spot"\n'


def farm(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [*FARM, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, timeout=PATIENCE, check=False
    )


def stored_counts(directory: Path) -> dict[str, int]:
    """Rows by feed kind, as DuckDB finds them."""
    rows = duckdb.sql(
        "SELECT exchange || '/' || market || '/' || symbol || '/' || kind AS feed, count(*) "
        f"FROM read_parquet('{directory}/**/*.parquet', union_by_name = true) GROUP BY 1"
    ).fetchall()
    return dict(rows)


def summary_counts(summary: dict[str, Any]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, feed in summary["feeds"].items():
        kind = name.split(":")[0]
        if feed["events"]:
            counts[kind] = counts.get(kind, 0) + feed["events"]
        if feed["gaps"]:
            gap = kind.rsplit("/", 1)[0] + "/gap"
            counts[gap] = counts.get(gap, 0) + feed["gaps"]
    return counts


def test_the_demo_stores_what_its_summary_says(tmp_path: Path) -> None:
    result = farm("demo", "--seconds", "4", "--data", tmp_path / "data", "--json")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    markets = {name.rsplit("/", 2)[0] for name in summary["feeds"]}
    assert markets == {"binance/spot", "binance/usdm", "bybit/linear", "bybit/option"}
    assert summary["totals"]["gaps"] == summary["totals"]["quarantined"] == 0
    assert summary["totals"]["events"] > 500
    assert {feed["state"] for feed in summary["feeds"].values()} == {"live", ""}
    books = [feed["book"] for feed in summary["feeds"].values() if feed["book"]]
    assert [book["verdict"] for book in books] == ["verified"] * 6
    ids = {name: feed["continuity"] for name, feed in summary["feeds"].items()}
    assert ids["binance/usdm/BTCUSDT/trade"]["completeness"] == "complete"
    assert ids["bybit/linear/BTCUSDT/trade"]["completeness"] == "unknown"
    assert sum(book["compared"] for book in books) > 0
    assert sum(book["wrong"] for book in books) == 0
    assert stored_counts(tmp_path / "data") == summary_counts(summary)
    dataset = pyarrow.dataset.dataset(tmp_path / "data", partitioning="hive", format="parquet")
    assert dataset.count_rows() == summary["totals"]["events"] == summary["rows_written"]


def test_the_demo_by_default_makes_a_directory_of_its_own_each_time(tmp_path: Path) -> None:
    result = farm("demo", "--seconds", "1", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (directory,) = (tmp_path / "demo-data").iterdir()
    assert str(directory.relative_to(tmp_path)) in result.stdout
    assert "binance/spot/BTCUSDT/trade" in result.stdout


def test_replay_of_a_log(tmp_path: Path) -> None:
    path = recording("binance_spot_btcusdt_20240808.log.gz")
    market = ("--exchange", "binance", "--market", "spot")
    result = farm("replay", path, *market, "--data", tmp_path, "--json")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    feeds = summary["feeds"]
    assert feeds["binance/spot/BTCUSDT/trade"]["events"] == 9_757
    assert feeds["binance/spot/BTCUSDT/quote"]["events"] == 28_040
    book = feeds["binance/spot/BTCUSDT/book"]["book"]
    assert (book["diffs"], book["applied"], book["snapshots"]) == (3_451, 3_449, 1)
    assert (book["compared"], book["wrong"], book["verdict"]) == (564, 0, "verified")
    assert summary["totals"]["gaps"] == 0
    assert stored_counts(tmp_path) == summary_counts(summary)


def test_replay_of_a_session(tmp_path: Path) -> None:
    path = recording("session_bybit_20260809.jsonl.gz")
    result = farm("replay", path, "--numbers", "decimal", "--data", tmp_path, "--json")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    kinds: dict[str, int] = {}
    for name, feed in summary["feeds"].items():
        kind = name.split("/")[3].split(":")[0]
        kinds[kind] = kinds.get(kind, 0) + feed["events"]
    assert kinds == {
        "trade": 347,
        "kline": 100,
        "book": 2_148,
        "ticker": 839,
        "mark_price": 140,
        "open_interest": 105,
    }
    assert summary["unparsed"] == {}
    assert summary["totals"]["gaps"] == summary["totals"]["quarantined"] == 0
    assert stored_counts(tmp_path) == summary_counts(summary)


@pytest.mark.parametrize(
    ("name", "market", "trades", "quotes", "diffs", "compared"),
    [
        ("binance_usdm_btcusdt_20240808", "usdm", 21_313, 66_089, 6_551, 629),
        ("binance_coinm_btcusd_perp_20240808", "coinm", 2_286, 19_136, 26_847, 1_124),
    ],
)
def test_replay_of_the_futures_logs(
    name: str, market: str, trades: int, quotes: int, diffs: int, compared: int
) -> None:
    path = recording(f"{name}.log.gz")
    result = farm("replay", path, "--exchange", "binance", "--market", market, "--json")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    feeds = {feed.rsplit("/")[-1]: counts for feed, counts in summary["feeds"].items()}
    assert feeds["trade"]["events"] == trades
    assert feeds["trade"]["continuity"]["completeness"] == "complete"
    assert feeds["quote"]["events"] == quotes
    book = feeds["book"]["book"]
    assert (book["diffs"], book["compared"], book["wrong"]) == (diffs, compared, 0)
    totals = summary["totals"]
    assert totals["gaps"] == totals["quarantined"] == totals["unknown"] == 0


def test_streams_prints_what_markets_offer() -> None:
    result = farm("streams", "--exchange", "binance", "--market", "usdm")
    assert result.returncode == 0
    for text in ("wss://fstream.binance.com", "<symbol>@markPrice@1s", "200 streams", "ids step"):
        assert text in result.stdout
    assert "bybit" not in result.stdout
    everything = json.loads(farm("streams", "--json").stdout)["markets"]
    assert [market["market"] for market in everything] == [r.key for r in MARKETS.values()]
    only = json.loads(farm("streams", "--exchange", "bybit", "--json").stdout)["markets"]
    assert [market["market"] for market in only] == [
        r.key for r in MARKETS.values() if r.exchange is Exchange.BYBIT
    ]
    wrong = farm("streams", "--market", "futures")
    assert wrong.returncode == 2
    assert "binance/usdm" in wrong.stderr


def test_replay_says_what_it_misses(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text('1 {"stream":"btcusdt@trade","data":{}}\n')
    result = farm("replay", log)
    assert result.returncode == 1
    assert "name its exchange and market: binance/spot" in result.stderr
    assert farm("replay", log, "--exchange", "binance").returncode == 2
    whole = recording("binance_spot_btcusdt_20240808.log.gz").read_bytes()
    (tmp_path / "cut.log.gz").write_bytes(whole[:30_000])
    market = ("--exchange", "binance", "--market", "spot")
    cut = farm("replay", tmp_path / "cut.log.gz", *market, "--data", tmp_path / "cut", "--json")
    assert cut.returncode == 1
    assert "cut.log.gz" in cut.stderr
    summary = json.loads(cut.stdout)  # what was read before the damage is stored, and summed up
    assert "damaged gzip" in summary["error"]
    assert stored_counts(tmp_path / "cut") == summary_counts(summary)
    other = farm("replay", tmp_path / "cut.log.gz", "--exchange", "bybit", "--market", "linear")
    assert other.returncode == 1
    missing = farm("replay", tmp_path / "no.log")
    assert missing.returncode == 1
    assert "no.log" in missing.stderr
    assert "Traceback" not in result.stderr + missing.stderr


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        (SPOT + 'symbols=["A"]\nstreams=["trade","quote","klin:1m"]', "collectors[0].streams[2]"),
        (SPOT + "symbols=[]", "collectors[0].symbols"),
        (SPOT + 'symbols=["A"]\nstrems=["trade"]', "collectors[0].strems"),
        ('mailbox_bytes="7"\n' + SPOT + 'symbols=["A"]', "mailbox_bytes"),
        (SPOT + "symbols=nothing", "line 4"),
    ],
)
def test_a_broken_configuration_is_named_and_ends_with_2(
    tmp_path: Path, toml: str, said: str
) -> None:
    path = tmp_path / "farm.toml"
    path.write_text(toml)
    result = farm("run", path)
    assert result.returncode == 2
    assert said in result.stderr
    assert "farm.toml" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "configuration file"),
        (["run", "x.toml", "--exchange", "binance"], "not both"),
        (["run", "--exchange", "kraken", "--market", "spot", "--symbols", "A"], "kraken"),
        (["run", "missing.toml"], "missing.toml"),
        (["demo", "--seconds", "0"], "--seconds"),
        (["demo", "--rate", "-5"], "--rate"),
        (["demo", "--data", ""], "--data"),
        (["run", "x.toml", "--seconds", "nan"], "--seconds"),
        (["replay", "x.log", "--exchange", "binance", "--market", "linear"], "binance/linear"),
        (["demo", "--seconds", "soon"], "soon"),
        (["replay"], "FILE"),
        (["nonsense"], "nonsense"),
    ],
)
def test_a_command_line_that_makes_no_sense_ends_with_2(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    result = farm(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert said in result.stderr + result.stdout
    assert "Traceback" not in result.stderr


def test_a_directory_of_another_number_mode_is_refused(tmp_path: Path) -> None:
    path = recording("session_bybit_20260809.jsonl.gz")
    assert farm("replay", path, "--data", tmp_path, "--json").returncode == 0
    again = farm("replay", path, "--data", tmp_path, "--numbers", "decimal")
    assert again.returncode == 1
    assert "float" in again.stderr
    assert "decimal" in again.stderr
    assert "Traceback" not in again.stderr


def test_the_schema_is_json() -> None:
    result = farm("config", "schema")
    assert result.returncode == 0
    assert json.loads(result.stdout)["type"] == "object"


def test_help_and_version() -> None:
    assert farm("--version").stdout.strip() == "0.1.0"
    text = farm("--help").stdout
    for command in ("demo", "run", "replay", "config"):
        assert command in text


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*FARM, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def wait_for_data(directory: Path) -> None:
    """Until the run has made its data directory: from then on signals are its own business."""
    end = time.monotonic() + PATIENCE
    while not (directory / "_farm.json").exists():
        assert time.monotonic() < end, "no data directory came about"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_drains_and_stores(tmp_path: Path, number: signal.Signals) -> None:
    process = start("demo", "--seconds", "600", "--data", tmp_path, "--json")
    wait_for_data(tmp_path)
    time.sleep(2.0)  # lets it collect something to drain; nothing below depends on how much
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    summary = json.loads(out)
    assert summary["seconds"] < 60
    assert stored_counts(tmp_path) == summary_counts(summary)
    assert summary["totals"]["gaps"] == 0
    assert "Traceback" not in err


def test_a_killed_run_leaves_whole_files_only(tmp_path: Path) -> None:
    process = start("demo", "--seconds", "600", "--data", tmp_path, "--json")
    wait_for_data(tmp_path)
    time.sleep(1.0)
    process.kill()
    process.communicate(timeout=PATIENCE)
    for path in tmp_path.rglob("*.parquet"):
        pyarrow.dataset.dataset(path, format="parquet").count_rows()
    result = farm("demo", "--seconds", "2", "--data", tmp_path, "--json")
    assert result.returncode == 0, result.stderr
    pyarrow.dataset.dataset(tmp_path, partitioning="hive", format="parquet").count_rows()
