"""Running commands that are to be interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet

from tests.cli.processes import PATIENCE

LISTENING = "listening to interrupts"

# What runs before the entry point. All imports of the command come after it has begun to listen.
ANNOUNCED = f"""
import os, signal, sys, threading, time

class Imports:
    count = 0

    def find_spec(self, name, path=None, target=None):
        if name == "farm.cli.app":
            print({LISTENING!r}, file=sys.stderr, flush=True)
            sys.argv[0] = "farm"
        if sys.argv[0] == "farm":
            self.count += 1
            on_import(self.count)

def on_import(count):
    pass

imports = Imports()
sys.meta_path.insert(0, imports)
"""
ENTER = "\nfrom farm.cli import main\nmain()"


class Command:
    """A command that runs. What it prints is in `out` (a file's content) and `err`."""

    def __init__(self, out: Path, arguments: tuple[str | Path, ...], before: str) -> None:
        self._out = out
        with out.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", ANNOUNCED + before + ENTER, *map(str, arguments)],
                stdout=file,
                stderr=subprocess.PIPE,
            )
        self._err = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.decode()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as pipe:
            while part := pipe.read1():
                self._err += part

    def wait_for(self, text: str) -> None:
        """Until it has printed `text`, on stdout or stderr."""
        wait_until(lambda: text in self.out + self.err, lambda: f"{text!r} in {self.err}")

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> None:
        self.process.send_signal(number)

    def interrupt_until_it_ends(self, number: signal.Signals = signal.SIGINT) -> int:
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < end, "it does not end"
            self.interrupt(number)
            time.sleep(0.2)
        return self.end()

    def end(self) -> int:
        """Wait for its end, and that of its children, which hold its stderr; its exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert not self._reader.is_alive(), "a child process is left"
        assert "Traceback" not in self.err
        assert "Exception ignored" not in self.err
        return code


@contextmanager
def command(out: Path, *arguments: str | Path, before: str = "") -> Iterator[Command]:
    """Run ``farm`` with these arguments, its stdout in the file `out`; `before` is code that runs
    first in its process."""
    running = Command(out, arguments, before)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


def wait_until(is_so: Callable[[], bool], what: Callable[[], str]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, f"did not come about: {what()}"
        time.sleep(0.01)


def see_whole_files(directory: Path) -> int:
    """See that each file can be read; the rows in them."""
    rows = 0
    for path in directory.rglob("*.parquet"):
        with pyarrow.parquet.ParquetFile(path) as file:
            rows += file.read().num_rows
    return rows
