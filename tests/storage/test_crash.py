"""A writer killed at any moment leaves only whole files, with all that it said was written."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from farm.entities import Trade
from farm.storage.directory import open_data_directory
from farm.storage.reader import read_batches
from farm.types import NumberMode
from tests.effort import runs

WRITER = """
import itertools, pathlib, sys
from farm.storage.directory import open_data_directory
from farm.storage.parquet import ParquetStore
from farm.types import NumberMode
from tests.storage.events import trades

directory = open_data_directory(pathlib.Path(sys.argv[1]), NumberMode.FLOAT)
store = ParquetStore(directory)
first = int(sys.argv[2])
for start in itertools.count(first, 500):
    for symbol in ("BTCUSDT", sys.argv[3]):
        store.add(trades(range(start, start + 500), symbol=symbol), 0.0)
    for partition in store.pending():
        store.write(partition)
    print(start + 500, flush=True)
"""


def start_writer(data: Path, first: int, symbol: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, data, str(first), symbol],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def ordinals(data: Path, symbol: str) -> list[int]:
    return [row.ordinal for batch in read_batches(data, Trade, symbol=symbol) for row in batch]


def test_killed_at_random_moments(tmp_path: Path) -> None:
    data = tmp_path / "data"
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    acknowledged = 0
    for round_ in range(runs(4)):
        symbol = f"SYMBOL{round_}"  # so that directories are made in each round
        with start_writer(data, acknowledged, symbol) as writer:
            assert writer.stdout is not None
            for _ in range(chance.randint(1, 8)):
                acknowledged = int(writer.stdout.readline())
            time.sleep(chance.uniform(0, 0.03))  # a moment of no particular meaning
            writer.kill()
            for line in writer.stdout.readlines():
                acknowledged = int(line)

        stored = [path for path in data.rglob("*") if path.suffix == ".parquet"]
        rows = sum(pq.read_table(path, partitioning=None).num_rows for path in stored)
        counted = duckdb.sql(f"select count(*), count(price) from '{data}/**/*.parquet'")
        assert counted.fetchall() == [(rows, rows)], f"seed {seed}"

        # Both symbols of a step may have been written, or only one, without a word of it.
        kept = ordinals(data, "BTCUSDT")
        assert kept == list(range(len(kept))), f"seed {seed}"
        assert len(kept) in (acknowledged, acknowledged + 500), f"seed {seed}"
        assert set(ordinals(data, symbol)) <= set(kept), f"seed {seed}"
        acknowledged = len(kept)

        with open_data_directory(data, NumberMode.FLOAT) as directory:
            assert list((data / "_runs").glob("*/*.tmp")) == []
            assert [run.name for run in (data / "_runs").glob("*/")] == [directory.run]


STEPS = """
import os, pathlib, sys
from farm.storage.directory import open_data_directory
from farm.storage.parquet import ParquetStore
from farm.types import NumberMode
from tests.storage.events import trades

def write(data, left):
    directory = open_data_directory(data, NumberMode.FLOAT)
    store = ParquetStore(directory)
    store.add(trades(range(500)), 0.0)

    def audit(event, args):
        nonlocal left
        if event in ("open", "os.mkdir", "os.rename", "os.remove"):
            left -= 1
            if left == 0:
                os._exit(9)

    sys.addaudithook(audit)
    store.write(store.pending()[0])

for step in range(1, 100):
    child = os.fork()
    if child == 0:
        write(pathlib.Path(sys.argv[1], f"{step:02}"), step)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    print(code, flush=True)
    if code != 9:
        break
"""


def test_killed_before_each_step_that_the_file_system_sees(tmp_path: Path) -> None:
    writers = subprocess.run(
        [sys.executable, "-c", STEPS, tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    codes = [int(code) for code in writers.stdout.split()]
    outcomes = []
    for code, data in zip(codes, sorted(tmp_path.iterdir()), strict=True):
        kept = ordinals(data, "BTCUSDT")
        assert kept in ([], list(range(500)))
        outcomes.append((len(kept), code))
        with open_data_directory(data, NumberMode.FLOAT):
            assert list((data / "_runs").glob("*/*.tmp")) == []
    # First nothing stands, then the whole file, then its writer knows.
    nothing, unknown = outcomes.count((0, 9)), outcomes.count((500, 9))
    assert nothing > 3
    assert unknown > 0
    assert outcomes == [(0, 9)] * nothing + [(500, 9)] * unknown + [(500, 0)]
