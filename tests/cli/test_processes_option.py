"""``--processes``: what a user, a service manager and the system do to a farm of many processes."""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
import pytest
import trio

from farm.monitor.running import ask_farms
from tests.cli.interrupting import Command, command, see_whole_files, wait_until
from tests.cli.processes import PATIENCE, stored_counts, summary_counts
from tests.sockets import names_in, own_runtime_directory


@pytest.fixture(autouse=True)
def _runtime() -> Iterator[None]:
    with own_runtime_directory():
        yield


@attrs.frozen
class Running:
    """A demo in two shards that have something to store."""

    command: Command
    data: Path
    shards: tuple[int, ...]
    _ends: tuple[int, ...]  # descriptors of their processes

    def see_shards_end(self) -> None:
        for end in self._ends:
            assert select.select([end], [], [], PATIENCE)[0], "a shard outlives its farm"


@contextmanager
def demo(tmp_path: Path, *options: str) -> Iterator[Running]:
    data = tmp_path / "data"
    arguments: list[str | Path] = [
        "demo",
        "--processes",
        "2",
        "--seconds",
        "600",
        "--data",
        data,
        *options,
    ]
    with ExitStack() as stack:
        running = stack.enter_context(command(tmp_path / "out", *arguments))
        shards: list[int] = []

        def stand() -> bool:
            shards[:] = shards_of(data)
            return len(shards) == 2

        wait_until(stand, lambda: f"two shards with events: {shards}, {running.err}")
        ends = tuple(os.pidfd_open(pid) for pid in shards)
        for end in ends:
            stack.callback(os.close, end)
        yield Running(running, data, tuple(shards), ends)


def shards_of(data: Path) -> list[int]:
    """The process ids of the shards that have received something, as ``farm ps`` hears them."""
    return [
        process["pid"]
        for found in trio.run(ask_farms, "ps", data)
        if found.answer is not None
        for process in found.answer["processes"]
        if process["name"] != "main" and process["state"] == "running" and process["events"]
    ]


def test_an_interrupt_drains_all_processes(tmp_path: Path) -> None:
    with demo(tmp_path, "--json") as running:
        running.command.interrupt()
        assert running.command.end() == 0
        running.see_shards_end()
        summary = json.loads(running.command.out)
        states = [(process["name"], process["state"]) for process in summary["processes"]]
    assert states[1:] == [("shard 1", "stopped"), ("shard 2", "stopped")]
    assert stored_counts(running.data) == summary_counts(summary)
    assert summary["totals"]["gaps"] == 0
    assert names_in(running.data / "_runs") == ["lock"]


def test_a_service_manager_that_ends_every_process_loses_nothing(tmp_path: Path) -> None:
    with demo(tmp_path, "--json") as running:
        for pid in running.shards:
            os.kill(pid, signal.SIGTERM)
        running.command.interrupt(signal.SIGTERM)
        assert running.command.end() == 0
        running.see_shards_end()
        summary = json.loads(running.command.out)
    assert stored_counts(running.data) == summary_counts(summary)
    assert [process["restarts"] for process in summary["processes"]] == [0, 0, 0]
    assert summary["totals"]["gaps"] == 0


def test_a_second_interrupt_ends_all_at_once(tmp_path: Path) -> None:
    with demo(tmp_path) as running:
        os.kill(running.shards[0], signal.SIGSTOP)  # it does not drain
        running.command.interrupt()
        running.command.wait_for("stopping: ")
        assert running.command.interrupt_until_it_ends() == 130
        running.see_shards_end()
    see_whole_files(running.data)  # of what was queued nothing is stored, as with one process


@pytest.fixture
def heeds_hangups() -> Iterator[None]:
    """What is started here ends by SIGHUP, though whoever runs the tests ignores it (nohup)."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("heeds_hangups")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_shards_end_with_a_farm_that_cannot_tell_them(
    tmp_path: Path, number: signal.Signals
) -> None:
    """SIGHUP: its terminal was closed."""
    with demo(tmp_path) as running:
        running.command.interrupt(number)
        assert running.command.end() == -number
        running.see_shards_end()
    assert see_whole_files(running.data)
