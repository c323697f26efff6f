"""Farms in many processes within programs of all sorts: started for real, as users start them.

A shard is no child of ``multiprocessing``: nothing of the program is imported again, so a script
needs no ``if __name__ == "__main__"``, and none here has it.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

import farm
from farm import Trade, open_farm
from farm.testing import FakeBinance, MarketSimulator, open_fake
from farm.types import Exchange, Market
from tests.farms import collector

PATIENCE = 60.0  # seconds until a program is given up
ROOT = Path(farm.__file__).parent.parent

# A user's program, but for how it runs main. It prints the pids of its shards, and what came.
PROGRAM = """
import json, os, sys, trio
from farm import Trade, open_farm

ENDPOINTS = json.loads(os.environ["FAKES"])
CONFIG = {
    "processes": 2,
    "cluster": {"spare": False},
    "collectors": [
        {
            "exchange": name.split("/")[0],
            "market": name.split("/")[1],
            "symbols": ["BTCUSDT"],
            "streams": ["trade"],
            "endpoints": urls,
        }
        for name, urls in ENDPOINTS.items()
    ],
}

async def read(farm):
    markets = set()
    async with farm.subscribe(Trade) as batches:
        async for batch in batches:
            markets.add(batch.origins[0][0].market.value)
            if len(markets) == 2:
                return sorted(markets)

def shards(farm):
    return [process.pid for process in farm.stats().processes[1:]]

def tell(*words):
    sys.stdout.write(json.dumps(words) + "\\n")
    sys.stdout.flush()

async def main():
    async with open_farm(CONFIG) as farm:
        tell(shards(farm), await read(farm))
"""
BOTH = ["linear", "spot"]

# A process of the real shard, until it says that it stands.
STARTED = """
import os, sys, trio
from farm.cluster.process import start_process

async def start():
    async with trio.open_nursery() as nursery, await start_process("shard 1", nursery) as process:
        if not await process.stream.receive_some():
            sys.exit(await process.wait())
"""


@pytest.fixture(scope="module")
def fakes() -> Iterator[str]:
    """The endpoints of two markets that are served for as long as the tests take, as JSON."""
    specs = ["binance/spot:BTCUSDT", "bybit/linear:BTCUSDT"]
    command = [sys.executable, "-m", "farm.testing.serve", *specs]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        yield json.dumps(json.loads(server.stdout.readline())["endpoints"])
        assert server.stdin is not None
        server.stdin.close()  # its lifeline


class Ended:
    """A program that has ended: its exit code and what it printed."""

    def __init__(self, result: subprocess.CompletedProcess[str]) -> None:
        self.code = result.returncode
        self.out = result.stdout
        self.err = result.stderr

    def farms(self, count: int) -> None:
        """See that it was well and `count` farms delivered, and that their shards are gone."""
        assert self.code == 0, self.err
        told = [json.loads(line) for line in self.out.splitlines()]
        assert [markets for _, markets in told] == [BOTH] * count
        for pids, _ in told:
            assert len(pids) == 2
            for pid in pids:
                with pytest.raises(ProcessLookupError):
                    os.kill(pid, 0)


def run(
    *arguments: str | Path,
    stdin: str | None = None,
    cwd: Path | None = None,
    **environment: str,
) -> Ended:
    return Ended(
        subprocess.run(
            [sys.executable, *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            cwd=cwd,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    )


def script(directory: Path, text: str) -> Path:
    path = directory / "user.py"
    path.write_text(text)
    return path


# How it runs -------------------------------------------------------------------------------------


def test_two_at_once_and_one_after_them_in_a_script_without_a_guard(
    tmp_path: Path, fakes: str
) -> None:
    tail = """
async def both():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(main)
        nursery.start_soon(main)

trio.run(both)
trio.run(main)
"""
    ended = run(script(tmp_path, PROGRAM + tail), FAKES=fakes)
    ended.farms(3)
    assert ended.err == ""


def test_a_program_on_the_command_line_in_a_thread(fakes: str) -> None:
    tail = """
import threading
thread = threading.Thread(target=trio.run, args=[main])
thread.start()
thread.join()
"""
    ended = run("-c", PROGRAM + tail, FAKES=fakes)
    ended.farms(1)
    assert ended.err == ""


def test_a_program_on_stdin_within_a_running_loop_of_asyncio(fakes: str) -> None:
    """As a cell of a notebook runs."""
    tail = """
import asyncio
async def cell():
    trio.run(main)
asyncio.run(cell())
"""
    ended = run("-", stdin=PROGRAM + tail, FAKES=fakes)
    ended.farms(1)
    assert ended.err == ""


def test_without_trio_it_says_what_is_missing(fakes: str) -> None:
    ended = run("-c", PROGRAM + "\nimport asyncio; asyncio.run(main())", FAKES=fakes)
    assert ended.code == 1
    assert ended.err.splitlines()[-1] == (
        "RuntimeError: a farm runs in Trio: begin with trio.run(main), or, in a notebook, "
        "%autoawait trio"
    )


def test_a_child_of_multiprocessing_whose_father_had_shards(tmp_path: Path, fakes: str) -> None:
    tail = """
import multiprocessing
trio.run(start)
child = multiprocessing.get_context("fork").Process(target=trio.run, args=[main], daemon=True)
child.start()
child.join()
sys.exit(child.exitcode)
"""
    ended = run(script(tmp_path, STARTED + PROGRAM + tail), FAKES=fakes)
    ended.farms(1)
    assert ended.err == ""


def test_under_a_debugger(tmp_path: Path) -> None:
    path = script(
        tmp_path, STARTED + "\ntrio.run(start)\nprint('stood', flush=True); os._exit(0)\n"
    )
    ended = run("-m", "pdb", "-c", "continue", path, "--odd", "-m")
    assert (ended.code, ended.out) == (0, "stood\n")


async def test_under_pytest() -> None:
    market = MarketSimulator(Exchange.BINANCE, Market.SPOT, ["BTCUSDT", "ETHUSDT"], seconds=60)
    async with open_fake(FakeBinance(market)) as fake:
        each = [
            collector("binance", "spot", [symbol], ["trade"], fake)
            for symbol in ("BTCUSDT", "ETHUSDT")
        ]
        config = {"processes": 2, "cluster": {"spare": False}, "collectors": each}
        async with open_farm(config) as farm:
            assert len(farm.stats().processes) == 3
            async with farm.subscribe(Trade) as batches:
                symbols: set[str] = set()
                with trio.fail_after(PATIENCE):
                    async for batch in batches:
                        symbols.update(trade.symbol for trade in batch)
                        if len(symbols) == 2:
                            break


# What it does with its children ------------------------------------------------------------------

REAP = """
def reap(number, frame):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
signal.signal(signal.SIGCHLD, reap)
"""


@pytest.mark.parametrize("before", [REAP, "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"])
def test_a_program_that_takes_the_exit_codes_of_all_its_children(before: str) -> None:
    """They end and are closed as others are; how they ended, nobody knows."""
    tail = """
async def kill():
    async with trio.open_nursery() as nursery, await start_process("shard 1", nursery) as process:
        await process.stream.receive_some()
        process.kill()
        while os.path.exists(f"/proc/{process.pid}"):  # until its exit code was taken
            await trio.sleep(0.001)
        print(await process.wait())

trio.run(kill)
"""
    ended = run("-c", "import signal\n" + STARTED + before + tail)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "its exit code is lost, or 0: this program deals with SIGCHLD itself\n"


def test_a_child_that_its_father_forked_does_not_keep_its_shards() -> None:
    """Though the shard, still importing, has not yet looked whose child it is."""
    code = """
import os, signal, time, trio
from farm.cluster.process import start_process

async def main():
    async with trio.open_nursery() as nursery:
        process = await start_process("shard 1", nursery)
        pid = os.fork()
        if pid == 0:
            os.close(1)
            time.sleep(600)
        print(process.pid, pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

trio.run(main)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as father:
        assert father.stdout is not None
        shard, child = map(int, father.stdout.readline().split())
    try:
        _see_end(shard)
    finally:
        os.kill(child, signal.SIGKILL)


def _see_end(pid: int) -> None:
    """Wait for the end of another's process."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], PATIENCE)[0], "it does not end"
    finally:
        os.close(fd)


# Where it runs, and with what --------------------------------------------------------------------


@pytest.mark.parametrize("closed", [(0, 1), (1, 2), (0, 1, 2)])
def test_a_daemon_without_stdin_stdout_and_stderr(closed: tuple[int, ...]) -> None:
    """What takes their numbers in the parent is not what the shard finds there."""
    tail = f"""
from farm.cluster.interpreter import this_interpreter
this_interpreter()

async def daemon():
    told = os.dup(1)
    for fd in {closed}:
        os.close(fd)
    await start()
    os.write(told, b"stands")
    os._exit(0)

trio.run(daemon)
"""
    ended = run("-c", STARTED + tail)
    assert (ended.code, ended.out) == (0, "stands")


def test_thousands_of_open_files() -> None:
    tail = """
import resource
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
for _ in range(min(hard, 4000) - 100):
    os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)
trio.run(start)
"""
    ended = run("-c", STARTED + tail)
    assert (ended.code, ended.err) == (0, "")


def test_no_more_files_can_be_opened() -> None:
    tail = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (14, 14))
trio.run(start)
"""
    ended = run("-c", STARTED + tail)
    assert ended.code == 1
    assert re.search(r"ShardError: .*Too many open files.*; use processes = 1\n", ended.err)


@pytest.mark.parametrize("then", ["os.chmod('.', 0o500)", "os.rmdir(os.getcwd())"])
def test_a_working_directory_that_is_read_only_or_gone(tmp_path: Path, then: str) -> None:
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    ended = run("-c", STARTED + then + "\ntrio.run(start)", cwd=cwd)
    assert (ended.code, ended.err) == (0, "")


@pytest.fixture
def traps(tmp_path: Path) -> Path:
    """A directory with modules that go by the names of others."""
    directory = tmp_path / "traps"
    directory.mkdir()
    for name in ("types", "trio", "queue", "farm"):
        (directory / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    return directory


def test_modules_of_its_own_where_it_runs(traps: Path) -> None:
    ended = run("-P", "-c", STARTED + "trio.run(start)", cwd=traps)
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize("option", ["-E", "-I"])
def test_an_environment_that_it_was_told_to_ignore(traps: Path, option: str) -> None:
    ended = run(option, "-c", STARTED + "trio.run(start)", PYTHONPATH=str(traps))
    assert (ended.code, ended.err) == (0, "")


def test_a_farm_of_its_own_found_from_where_it_was(tmp_path: Path, traps: Path) -> None:
    """A shard that is started later on finds it, too."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "farm").symlink_to(ROOT / "farm")
    tail = f"""
import farm
assert os.path.dirname(farm.__file__) == {str(tmp_path / "lib" / "farm")!r}
trio.run(start)
os.chdir({str(traps)!r})
sys.path_importer_cache.clear()
from farm.cluster.interpreter import this_interpreter
assert {str(tmp_path / "lib")!r} in this_interpreter().environment()["PYTHONPATH"].split(":")
trio.run(start)
"""
    ended = run("-P", "-c", STARTED + tail, cwd=tmp_path, PYTHONPATH="lib")
    assert (ended.code, ended.err) == (0, "")
