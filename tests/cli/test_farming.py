"""Interrupts while a farm starts, runs, reconnects and drains."""

from __future__ import annotations

import io
import json
import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from farm.api.farm import Farm, open_farm
from farm.cli.farming import STOPPING, Interruption, run_farm
from farm.report import Reporter
from tests.cli.interrupting import LISTENING, Command, command, see_whole_files, wait_until
from tests.cli.processes import PATIENCE, farm, stored_counts, summary_counts
from tests.effort import moments, runs

SIGNALS = [signal.SIGINT, signal.SIGTERM]

HANGING_DISK = """
import farm.cli.interrupt
farm.cli.interrupt.QUIT_SECONDS = 3600  # it has to quit by itself

def fsync(descriptor, of_disk=os.fsync):
    if threading.current_thread() is threading.main_thread():
        return of_disk(descriptor)
    print("hanging", file=sys.stderr, flush=True)
    time.sleep(3600)

os.fsync = fsync
"""


def write_config(directory: Path, ws: str, rest: str, *, check: bool) -> Path:
    path = directory / "farm.toml"
    path.write_text(
        'data = "data"\n[[collectors]]\nexchange = "binance"\nmarket = "spot"\n'
        'symbols = ["BTCUSDT"]\nstreams = ["trade", "quote", "book"]\n'
        f'endpoints = {{ ws = "{ws}", rest = "{rest}" }}\n'
        f"[instruments]\nstart_seconds = 3600\ncheck = {str(check).lower()}\n"
        "[storage]\nflush_rows = 10\n[supervision]\ndrain_seconds = 3600\n"
    )
    return path


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A venue that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        yield server


def config_of(directory: Path, server: socket.socket, *, check: bool) -> Path:
    place = f"127.0.0.1:{server.getsockname()[1]}"
    return write_config(directory, f"ws://{place}", f"http://{place}", check=check)


@pytest.fixture(scope="module")
def venue() -> Iterator[dict[str, str]]:
    """A venue that speaks: its endpoints."""
    with subprocess.Popen(
        [sys.executable, "-m", "farm.testing.serve", "binance/spot:BTCUSDT", "--rate", "100"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["endpoints"]["binance/spot"]
        process.stdin.close()


def see_stored(running: Command, directory: Path) -> None:
    """See that the summary was printed, and that what it counts is in the files."""
    assert stored_counts_if_any(directory) == summary_counts(json.loads(running.out))


def wait_for_files(directory: Path, number: int) -> None:
    def are_there() -> bool:
        return len(list(directory.rglob("*.parquet"))) >= number

    wait_until(are_there, lambda: f"{number} files")


def stored_counts_if_any(directory: Path) -> dict[str, int]:
    return stored_counts(directory) if any(directory.rglob("*.parquet")) else {}


# ------------------------------------------------------------------------------------------- start
@pytest.mark.parametrize("number", SIGNALS)
def test_looking_up_symbols_ends_at_the_first(
    tmp_path: Path, silent: socket.socket, number: signal.Signals
) -> None:
    path = config_of(tmp_path, silent, check=True)
    with command(tmp_path / "out", "run", path, "--json") as running:
        with silent.accept()[0]:
            running.interrupt(number)
            assert running.end() == 130
        assert running.out == ""


def test_looking_up_symbols_ends_however_often_one_presses(
    tmp_path: Path, silent: socket.socket
) -> None:
    path = config_of(tmp_path, silent, check=True)
    with command(tmp_path / "out", "run", path, "--json") as running:
        with silent.accept()[0]:
            for _ in range(3):
                running.interrupt()
            assert running.end() == 130
        assert running.out == ""


def test_a_demo_may_be_interrupted_at_any_moment_of_its_start(tmp_path: Path) -> None:
    last = 3
    for index, moment in enumerate(moments(last + 1)):
        data = tmp_path / f"data{index}"
        with command(tmp_path / "out", "demo", "--data", data, "--json") as running:
            running.wait_for(LISTENING)
            begun = time.monotonic()
            if index == 0:  # to know how long it takes
                wait_until((data / "_farm.json").exists, lambda: "the data directory")
                whole = time.monotonic() - begun
            else:
                time.sleep(1.6 * whole * moment / last)  # the last come when it runs
            running.interrupt()
            code = running.end()
        if code == 130:  # there was no farm yet
            assert running.out == ""
        else:
            assert code == 0
            see_stored(running, data)


async def test_an_interrupt_as_the_farm_comes_to_stand_lets_it_drain(
    tmp_path: Path, silent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    interruption = Interruption()

    @asynccontextmanager
    async def opening() -> AsyncIterator[Farm]:
        async with open_farm(config_of(tmp_path, silent, check=False)) as farm:
            interruption._hear()
            yield farm

    out = io.StringIO()
    reporter = Reporter("farm", as_json=True, out=out)
    with trio.fail_after(PATIENCE):
        assert await run_farm(opening(), reporter, interruption) == 0
    assert json.loads(out.getvalue())["totals"]["frames"] == 0


# --------------------------------------------------------------------------------------- reconnect
def test_a_handshake_that_is_not_answered_holds_nothing_up(
    tmp_path: Path, silent: socket.socket
) -> None:
    path = config_of(tmp_path, silent, check=False)
    with command(tmp_path / "out", "run", path, "--json") as running:
        with silent.accept()[0]:
            running.interrupt()
            assert running.end() == 0
        assert json.loads(running.out)["totals"]["frames"] == 0


def test_backing_off_holds_nothing_up(tmp_path: Path, silent: socket.socket) -> None:
    path = config_of(tmp_path, silent, check=False)
    with command(tmp_path / "out", "run", path, "--json") as running:
        silent.accept()[0].close()
        silent.close()  # from now on it is refused, again and again
        running.wait_for("binance/spot#1")  # a warning that it backs off
        running.interrupt()
        assert running.end() == 0
        assert json.loads(running.out)["totals"]["frames"] == 0


# --------------------------------------------------------------------------------------------- run
@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_drains_and_stores(
    tmp_path: Path, venue: dict[str, str], number: signal.Signals
) -> None:
    path = write_config(tmp_path, **venue, check=True)
    with command(tmp_path / "out", "run", path, "--json") as running:
        wait_for_files(tmp_path / "data", 1)
        running.interrupt(number)
        assert running.end() == 0
        assert STOPPING in running.err
        see_stored(running, tmp_path / "data")
        assert json.loads(running.out)["totals"]["events"] > 0


@pytest.mark.parametrize("times", [2, 3])
def test_pressed_at_any_moment_it_ends_with_whole_files(
    tmp_path: Path, venue: dict[str, str], times: int
) -> None:
    path = write_config(tmp_path, **venue, check=True)
    for moment in moments(4):
        with command(tmp_path / "out", "run", path, "--json") as running:
            running.wait_for(LISTENING)
            time.sleep(0.5 * moment)
            for _ in range(times):
                running.interrupt()
                time.sleep(0.01 * moment)  # sent at once they may count as one
            assert running.end() in (0, 130)
            see_whole_files(tmp_path / "data")


def test_a_killed_run_leaves_whole_files_only(tmp_path: Path, venue: dict[str, str]) -> None:
    path = write_config(tmp_path, **venue, check=True)
    data = tmp_path / "data"
    for _ in range(runs(1)):
        with command(tmp_path / "out", "run", path) as running:
            wait_for_files(data, len(list(data.rglob("*.parquet"))) + 2)
            running.process.kill()
            running.process.wait()
        assert see_whole_files(data) > 0
    result = farm("run", path, "--seconds", "1", "--json")  # and the next run is not held up
    assert result.returncode == 0, result.stderr


# ------------------------------------------------------------------------------------------- drain
@pytest.mark.parametrize("number", SIGNALS)
def test_the_second_gives_up_a_disk_that_hangs(
    tmp_path: Path, venue: dict[str, str], number: signal.Signals
) -> None:
    path = write_config(tmp_path, **venue, check=True)
    with command(tmp_path / "out", "run", path, "--json", before=HANGING_DISK) as running:
        running.wait_for("hanging")
        running.interrupt(number)
        running.wait_for(STOPPING)
        running.interrupt(number)
        assert running.end() == 130
        assert json.loads(running.out)["totals"]["events"] > 0
    assert see_whole_files(tmp_path / "data") == 0
