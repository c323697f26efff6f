from __future__ import annotations

import json
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from farm.errors import DataDirectoryError
from farm.storage.directory import FORMAT_VERSION, MARKER, open_data_directory
from farm.types import NumberMode
from tests.effort import runs

FLOAT, DECIMAL = NumberMode.FLOAT, NumberMode.DECIMAL


def temporaries(path: Path) -> list[Path]:
    return sorted((path / "_runs").glob("*/*.tmp"))


def test_a_directory_is_made_and_marked(tmp_path: Path) -> None:
    path = tmp_path / "a" / "data"
    with open_data_directory(path, DECIMAL) as directory:
        assert directory.numbers is DECIMAL
    assert json.loads((path / MARKER).read_text()) == {
        "format": FORMAT_VERSION,
        "numbers": "decimal",
    }
    with open_data_directory(path, DECIMAL):
        pass


def test_another_number_mode_is_refused(tmp_path: Path) -> None:
    open_data_directory(tmp_path, FLOAT).close()
    with pytest.raises(DataDirectoryError) as refusal:
        open_data_directory(tmp_path, DECIMAL)
    for part in (str(tmp_path), "float", "decimal"):
        assert part in str(refusal.value)


@pytest.mark.parametrize(
    ("marker", "reason"),
    [
        (b"", "not a marker"),
        (b"[]", "not a marker"),
        (b'{"format": "1", "numbers": "float"}', "not a marker"),
        (b'{"format": 1, "numbers": "\xff"}', "not a marker"),
        (b'{"format": 2, "modes": ["float"]}', "format 2; this farm writes format 1"),
    ],
)
def test_a_marker_that_is_not_understood_is_refused(
    tmp_path: Path, marker: bytes, reason: str
) -> None:
    (tmp_path / MARKER).write_bytes(marker)
    with pytest.raises(DataDirectoryError, match=reason):
        open_data_directory(tmp_path, FLOAT)
    assert (tmp_path / MARKER).read_bytes() == marker


def test_data_without_a_marker_are_refused(tmp_path: Path) -> None:
    (tmp_path / "exchange=binance").mkdir()
    with pytest.raises(DataDirectoryError, match="number mode is unknown"):
        open_data_directory(tmp_path, FLOAT)


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_what_is_no_directory_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirectoryError, match=path):
        open_data_directory(tmp_path / path, FLOAT)


def test_an_unwritable_directory_is_refused() -> None:
    with pytest.raises(DataDirectoryError, match=r"/proc/self: not usable"):
        open_data_directory(Path("/proc/self"), FLOAT)


def test_a_living_run_keeps_its_temporaries_and_a_dead_one_does_not(tmp_path: Path) -> None:
    script = (
        "import sys, time, pathlib\n"
        "from farm.storage.directory import *\n"
        "from farm.types import NumberMode\n"
        "directory = open_data_directory(pathlib.Path(sys.argv[1]), NumberMode.FLOAT)\n"
        "def write(file):\n"
        "    file.write(b'half'); file.flush()\n"
        "    print('half', flush=True)\n"
        "    time.sleep(600)\n"
        "directory.write_file(pathlib.Path('file.parquet'), write)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half\n"
        with open_data_directory(tmp_path, FLOAT):
            assert [file.read_bytes() for file in temporaries(tmp_path)] == [b"half"]
        writer.kill()
        writer.wait()
    assert len(temporaries(tmp_path)) == 1
    with open_data_directory(tmp_path, FLOAT) as directory:
        assert [run.name for run in (tmp_path / "_runs").glob("*/")] == [directory.run]
    assert list((tmp_path / "_runs").glob("*/")) == []
    assert not (tmp_path / "file.parquet").exists()


def test_a_run_killed_before_it_took_its_lock_is_removed(tmp_path: Path) -> None:
    (tmp_path / "_runs" / "0123").mkdir(parents=True)
    with open_data_directory(tmp_path, FLOAT) as directory:
        assert [run.name for run in (tmp_path / "_runs").glob("*/")] == [directory.run]


def test_processes_that_open_at_once_agree(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib\n"
        "from farm.errors import DataDirectoryError\n"
        "from farm.storage.directory import *\n"
        "from farm.types import NumberMode\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "try:\n"
        "    directory = open_data_directory(pathlib.Path(sys.argv[1]), NumberMode(sys.argv[2]))\n"
        "except DataDirectoryError as error:\n"
        "    print('refused', error, flush=True)\n"
        "else:\n"
        "    print('opened', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    modes = ["float", "decimal"] * runs(2)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, tmp_path / "data", mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for mode in modes
    ]
    outcomes = []
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        assert process.stdout is not None
        outcomes.append(process.stdout.readline().split()[0])
    alive = list((tmp_path / "data" / "_runs").glob("*/"))
    for process in processes:
        process.communicate("\n")
    chosen = json.loads((tmp_path / "data" / MARKER).read_text())["numbers"]
    assert outcomes == ["opened" if mode == chosen else "refused" for mode in modes]
    assert len(alive) == len(modes) // 2


def test_threads_that_open_and_close_at_once_disturb_no_one(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def cycle() -> None:
        try:
            for _ in range(runs(30)):
                with open_data_directory(tmp_path, FLOAT) as directory:
                    directory.write_file(Path(directory.run), lambda file: file.write(b"x"))
        except (DataDirectoryError, OSError) as error:
            failures.append(error)

    threads = [threading.Thread(target=cycle) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sum(file.is_file() for file in tmp_path.iterdir()) == 4 * runs(30) + 1


def test_names_are_unique_and_sort_by_start(tmp_path: Path) -> None:
    start = int(datetime(2024, 8, 8, 23, 54, 3, tzinfo=UTC).timestamp()) * 1_000_000_000 + 7
    with open_data_directory(tmp_path, FLOAT) as one, open_data_directory(tmp_path, FLOAT) as two:
        name = one.new_name(start, ".parquet")
        assert name == f"20240808T235403000000007Z-{one.run}-000000.parquet"
        later = [directory.new_name(start + 1, ".parquet") for directory in (one, one, two)]
    assert len({name, *later}) == 4
    assert min(name, *later) == name


def test_a_closed_directory_writes_nothing_and_closes_again(tmp_path: Path) -> None:
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    directory = open_data_directory(tmp_path, FLOAT)
    directory.close()
    directory.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    with pytest.raises(DataDirectoryError, match="closed"):
        directory.write_file(Path("file"), lambda file: file.write(b""))
