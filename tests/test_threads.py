"""Blocking work in real threads, and files that a thread writes which nobody waits for any more."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

import pytest
import trio

from farm.entities import Trade
from farm.errors import DataDirectoryError
from farm.storage import parquet
from farm.storage.directory import DataDirectory, open_data_directory
from farm.threads import in_thread
from farm.types import NumberMode
from tests.effort import runs
from tests.storage.events import trades

DEADLINE = 30.0  # until something that must happen is given up


async def test_a_result_and_an_error_come_back() -> None:
    assert await in_thread(threading.current_thread) is not threading.current_thread()

    def fail() -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await in_thread(fail)


async def test_a_cancellation_does_not_wait_for_a_thread_that_hangs() -> None:
    started, let_go, ended = (threading.Event() for _ in range(3))

    def hang() -> None:
        started.set()
        let_go.wait(DEADLINE)
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(in_thread, hang)
        await in_thread(started.wait)
        nursery.cancel_scope.cancel()
    assert not ended.is_set()
    let_go.set()
    assert await in_thread(lambda: ended.wait(DEADLINE))


def test_a_thread_that_hangs_does_not_keep_the_process() -> None:
    code = (
        "import threading, trio\n"
        "from farm.threads import in_thread\n"
        "async def main():\n"
        "    with trio.move_on_after(0.1):\n"
        "        await in_thread(threading.Event().wait)\n"
        "    print('ended')\n"
        "trio.run(main)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "ended\n", "")


# A write that is given up, while its directory closes --------------------------------------------

CONTENT = b"x" * 100_000


class Writing:
    """A file that a thread writes, halted at its first byte, in its middle, or at its end."""

    def __init__(self, directory: DataDirectory, halt_after: int) -> None:
        self.started = threading.Event()
        self.go_on = threading.Event()
        self.ended = threading.Event()
        self.error: Exception | None = None
        self._directory = directory
        self._halt_after = halt_after

    def __call__(self) -> None:
        try:
            self._directory.write_file(Path("exchange=x", "a.parquet"), self._fill)
        except Exception as error:
            self.error = error
            raise
        finally:
            self.ended.set()

    def _fill(self, file: IO[bytes]) -> None:
        file.write(CONTENT[: self._halt_after])
        file.flush()
        self.started.set()
        self.go_on.wait(DEADLINE)
        file.write(CONTENT[self._halt_after :])


async def give_up(writing: Writing) -> None:
    """Start a write, and cancel it where it halts."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(in_thread, writing)
        await in_thread(lambda: writing.started.wait(DEADLINE))
        nursery.cancel_scope.cancel()
    assert not writing.ended.is_set()


async def end(writing: Writing) -> None:
    writing.go_on.set()
    assert await in_thread(lambda: writing.ended.wait(DEADLINE))


@pytest.mark.parametrize("halt_after", [0, 50_000, 100_000])
async def test_a_write_given_up_leaves_nothing_in_a_directory_that_was_closed(
    tmp_path: Path, halt_after: int
) -> None:
    with open_data_directory(tmp_path, NumberMode.FLOAT) as directory:
        writing = Writing(directory, halt_after)
        await give_up(writing)
    await end(writing)
    assert isinstance(writing.error, FileNotFoundError)  # its temporary went with the run
    assert files(tmp_path) == []


async def test_a_write_given_up_that_begins_after_the_closing_is_refused(tmp_path: Path) -> None:
    with open_data_directory(tmp_path, NumberMode.FLOAT) as directory:
        writing = Writing(directory, 0)
    writing.go_on.set()
    with pytest.raises(DataDirectoryError, match="closed"):
        await in_thread(writing)
    assert files(tmp_path) == []


async def test_a_write_given_up_that_ends_before_the_closing_is_whole(tmp_path: Path) -> None:
    with open_data_directory(tmp_path, NumberMode.FLOAT) as directory:
        writing = Writing(directory, 50_000)
        await give_up(writing)
        await end(writing)
    assert writing.error is None
    (file,) = files(tmp_path)
    assert file.read_bytes() == CONTENT


async def test_a_write_that_ends_while_its_directory_closes_is_whole_or_not_there(
    tmp_path: Path,
) -> None:
    for number in range(runs(30)):
        path = tmp_path / str(number)
        with open_data_directory(path, NumberMode.FLOAT) as directory:
            writing = Writing(directory, 50_000)
            await give_up(writing)
            writing.go_on.set()
        await end(writing)
        open_data_directory(path, NumberMode.FLOAT).close()  # removes what the dead have left
        found = files(path)
        assert [file.read_bytes() for file in found] == [CONTENT] * (writing.error is None)


async def test_rows_whose_write_was_given_up_and_asked_for_again_are_stored_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, go_on = threading.Event(), threading.Event()
    write = parquet.write_table

    def write_slowly(table: Any, file: IO[bytes]) -> None:
        started.set()
        go_on.wait(DEADLINE)
        write(table, file)

    monkeypatch.setattr(parquet, "write_table", write_slowly)
    batch = trades(range(10))
    with open_data_directory(tmp_path, NumberMode.FLOAT) as directory:
        store = parquet.ParquetStore(directory)
        store.add(batch, 0.0)
        (partition,) = store.pending()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_thread, lambda: store.write(partition))
            await in_thread(lambda: started.wait(DEADLINE))
            nursery.cancel_scope.cancel()
        assert store.pending() == [partition]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_thread, lambda: store.write(partition))  # waits for the other
            go_on.set()
        assert (store.rows_written, store.rows_pending) == (10, 0)
    assert [row for read in parquet.read_batches(tmp_path, Trade) for row in read] == batch.rows


def files(path: Path) -> list[Path]:
    """What stands in the directory, but for its marker and the lock of its runs."""
    found = [file for file in path.rglob("*") if file.is_file()]
    return [file for file in found if file.name not in ("_farm.json", "lock")]
