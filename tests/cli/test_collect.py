from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pytest
import trio

from farm.cli import collect
from farm.cli.app import run_app
from farm.config import FarmConfig
from farm.exchanges.share import Share
from farm.pipeline import forecast
from tests.cli.processes import farm, stored_counts, summary_counts
from tests.recordings import recording


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


def test_a_directory_of_another_number_mode_is_refused(tmp_path: Path) -> None:
    path = recording("session_bybit_20260809.jsonl.gz")
    assert farm("replay", path, "--data", tmp_path, "--json").returncode == 0
    again = farm("replay", path, "--data", tmp_path, "--numbers", "decimal")
    assert again.returncode == 1
    assert "float" in again.stderr
    assert "decimal" in again.stderr
    assert "Traceback" not in again.stderr


# --------------------------------------------------------------------------- processes and shares
@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[FarmConfig]:
    """The configurations of the farms that commands open; none of these farms runs."""
    configs: list[FarmConfig] = []

    async def run_nothing(*_: Any, **__: Any) -> int:
        await trio.lowlevel.checkpoint()
        return 0

    monkeypatch.setattr(collect, "open_farm", configs.append)
    monkeypatch.setattr(collect, "run_farm", run_nothing)
    monkeypatch.setattr(forecast, "usable_cores", lambda: 3)
    return configs


def write_config(directory: Path, head: str = "", symbols: int = 1000) -> Path:
    path = directory / "farm.toml"
    names = [f"C{i}USDT" for i in range(symbols)]  # 200 on a connection
    path.write_text(
        f'{head}\n[[collectors]]\nexchange = "binance"\nmarket = "usdm"\nsymbols = {names}\n'
    )
    return path


@pytest.mark.parametrize(
    ("head", "options", "processes"),
    [
        ("", {}, 3),
        ("processes = 2", {}, 2),
        ("processes = 1", {}, 1),
        ("", {"processes": 5}, 5),
        ("processes = 2", {"processes": 1}, 1),
        ("", {"shard": "1/4"}, 2),
        ("shard = '1/4'", {}, 2),
        ("shard = '1/4'", {"shard": "1/2"}, 3),
    ],
)
async def test_processes_are_those_of_the_option_or_the_file_or_one_for_each_core(
    head: str, options: dict[str, Any], processes: int, tmp_path: Path, opened: list[FarmConfig]
) -> None:
    assert await collect.run(write_config(tmp_path, head), **options) == 0
    (config,) = opened
    assert config.processes == processes


async def test_no_process_is_without_a_connection(tmp_path: Path, opened: list[FarmConfig]) -> None:
    await collect.run(write_config(tmp_path, symbols=300))
    assert [config.processes for config in opened] == [2]


async def test_a_share_is_that_of_the_option_or_the_file(
    tmp_path: Path, opened: list[FarmConfig]
) -> None:
    path = write_config(tmp_path, "shard = '3/8'")
    await collect.run(path)
    await collect.run(path, shard="2/4")
    await collect.run(write_config(tmp_path))
    assert [config.share for config in opened] == [Share(3, 8), Share(2, 4), None]


async def test_the_demo_runs_in_one_process_unless_told_otherwise(
    tmp_path: Path, opened: list[FarmConfig]
) -> None:
    await collect.demo(data=str(tmp_path))
    await collect.demo(data=str(tmp_path), processes=2)
    assert [config.processes for config in opened] == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "x.toml", "--processes", "0"], "--processes"),
        (["run", "x.toml", "--processes", "257"], "--processes"),
        (["demo", "--processes", "0"], "--processes"),
        (["run", "x.toml", "--shard", "0/8"], "--shard: '0/8': the first shard is 1/8"),
        (["run", "x.toml", "--shard", ""], "--shard: '' is no share"),
    ],
)
def test_processes_and_shares_that_make_no_sense(
    arguments: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_app(arguments) == 2
    printed = capfd.readouterr()
    assert said in printed.out + printed.err
