"""What the README shows is true."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from farm import Trade
from farm.batch import Batch
from farm.config import parse_toml
from farm.exchanges.catalogue import markdown_table
from farm.exchanges.registry import MARKETS
from farm.storage.directory import open_data_directory
from farm.storage.parquet import ParquetStore
from farm.types import Exchange, Market, NumberMode, Side

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text()
START, END = "<!-- streams -->", "<!-- /streams -->"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_the_quick_start_has_two_command_lines() -> None:
    section = TEXT.split("## Quick start")[1].split("\n## ")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    assert len(block.strip().splitlines()) == 2
    assert "farm demo" in block
    assert "pytest" in block


def test_the_configuration_loads() -> None:
    (block,) = blocks("toml")
    config = parse_toml(block)
    exchanges = [Exchange.BINANCE, Exchange.BINANCE, Exchange.BYBIT]
    assert [c.exchange for c in config.collectors] == exchanges
    uncommented = parse_toml(block.replace("# endpoints", "endpoints"))
    assert uncommented.collectors[2].endpoints.rest == "https://api-testnet.bybit.com"


@pytest.mark.parametrize("block", blocks("python"), ids=range(len(blocks("python"))))
def test_python_blocks_compile(block: str) -> None:
    compile(block, "README.md", "exec")


def test_the_table_of_streams_is_what_the_markets_offer() -> None:
    """Write it anew with ``python -m tests.test_readme`` where a market has changed."""
    shown = TEXT.partition(START)[2].partition(END)[0]
    assert shown.strip() == markdown_table(MARKETS.values()).strip()


def test_the_query_of_stored_data_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_data_directory(tmp_path / "data", NumberMode.FLOAT) as directory:
        store = ParquetStore(directory)
        trade = Trade(
            Exchange.BINANCE, Market.SPOT, "BTCUSDT", "1", 10.0, 1.0, Side.BUY, 1, 1, 1, 0
        )  # fmt: skip
        store.add(Batch.of([trade, trade]), 0.0)
        for partition in store.pending():
            store.write(partition)
    monkeypatch.chdir(tmp_path)
    (block,) = [block for block in blocks("python") if "duckdb" in block]
    exec(compile(block, "README.md", "exec"), {"duckdb": duckdb})
    assert re.search(r"binance.*BTCUSDT.*2.*10\.0", capsys.readouterr().out)


if __name__ == "__main__":
    head, _, rest = TEXT.partition(START)
    tail = rest.partition(END)[2]
    README.write_text(f"{head}{START}\n{markdown_table(MARKETS.values())}{END}{tail}")
