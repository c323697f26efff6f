"""Processes that are started, watched, killed and given up: real ones."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from farm.cluster import process as process_module
from farm.cluster.interpreter import Interpreter, this_interpreter
from farm.cluster.process import ShardProcess, start_process
from farm.errors import ShardError
from tests.effort import moments, runs

DEADLINE = 30.0  # until something that must happen is given up

# The child's side: what each program begins with.
BEGIN = """
import os, signal, socket, sys, time
link = socket.socket(fileno=int(sys.argv[1]))
lifeline = int(sys.argv[2])
"""
ECHO = "while data := link.recv(4096): link.sendall(data)\n"
HANG = "link.sendall(b'!'); time.sleep(600)\n"


def program(code: str) -> list[str]:
    return [sys.executable, "-c", BEGIN + code]


@asynccontextmanager
async def running(code: str, name: str = "shard 1") -> AsyncIterator[ShardProcess]:
    with trio.fail_after(DEADLINE):
        async with (
            trio.open_nursery() as nursery,
            await start_process(name, nursery, command=program(code)) as process,
        ):
            yield process


def descriptors() -> dict[str, str]:
    """The open ones of this process, and what they are."""
    gc.collect()
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[entry.name] = str(entry.readlink())
        except FileNotFoundError:
            continue  # that of the directory itself
    return found


def children() -> set[str]:
    """Processes that this one has not reaped."""
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        found.update((task / "children").read_text().split())
    return found


# The link and what is inherited ------------------------------------------------------------------


async def test_the_child_has_the_other_end_of_the_stream() -> None:
    async with running(ECHO) as process:
        await process.stream.send_all(b"hello")
        assert await process.stream.receive_some() == b"hello"
        await process.stream.send_eof()
        assert await process.stream.receive_some() == b""
        assert await process.wait() == "exit code 0"


async def test_the_child_holds_its_ends_alone_and_a_session_of_its_own() -> None:
    code = (
        "fds = sorted(int(fd) for fd in os.listdir('/proc/self/fd'))\n"
        "own = {0, 1, 2, link.fileno(), lifeline}\n"
        "mine = [fd for fd in fds if fd not in own and os.path.exists(f'/proc/self/fd/{fd}')]\n"
        "link.sendall(repr((mine, os.getsid(0) == os.getpid(), sys.stdin.read())).encode())\n"
    )
    async with running(code, "shard 1"), running(code, "shard 2") as second:
        assert await second.stream.receive_some() == b"([], True, '')"


async def test_it_does_not_read_what_its_parent_is_to_read() -> None:
    kept, (read_end, write_end) = os.dup(0), os.pipe()
    os.dup2(read_end, 0)
    try:
        async with running("link.sendall(repr(sys.stdin.read()).encode())\n") as process:
            assert await process.stream.receive_some() == b"''"
    finally:
        os.dup2(kept, 0)
        for fd in (kept, read_end, write_end):
            os.close(fd)


async def test_nothing_but_two_numbers_is_added_to_the_command_line() -> None:
    code = "link.sendall(open('/proc/self/cmdline', 'rb').read())\n"
    async with running(code) as process:
        arguments = (await process.stream.receive_some(1 << 16)).split(b"\0")[3:-1]
    assert len(arguments) == 2
    assert all(argument.isdigit() for argument in arguments)


async def test_a_shard_is_a_module_of_the_same_farm(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []

    async def refuse(command: list[str], environment: dict[str, str]) -> None:
        commands.append(command)
        raise OSError("no more processes")

    monkeypatch.setattr(process_module, "_spawn", refuse)
    async with trio.open_nursery() as nursery:
        with pytest.raises(ShardError, match=r"shard 1 could not be started \(no more processes\)"):
            await start_process("shard 1", nursery)
    assert commands == [[*this_interpreter().command, "-m", "farm.cluster.shard"]]


# Ends --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("pass", "exit code 0"),
        ("print('a farewell')", "exit code 0"),
        ("sys.exit(3)", "exit code 3"),
        ("sys.exit('memory limit passed')", "exit code 1: memory limit passed"),
        ("print('memory limit passed', end='', flush=True); os._exit(3)",
         "exit code 3: memory limit passed"),
        ("1 / 0", "exit code 1: ZeroDivisionError: division by zero"),
        ("os.abort()", "killed by SIGABRT"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGRTMIN + 1)", f"killed by signal {signal.SIGRTMIN + 1}"),
    ],
)  # fmt: skip
async def test_how_it_ended_in_words(code: str, reason: str) -> None:
    async with running(code) as process:
        assert await process.wait() == reason
        assert await process.wait() == reason


async def test_a_process_that_does_not_come_to_run_says_why() -> None:
    command = [sys.executable, "-m", "no_such_module"]
    async with (
        trio.open_nursery() as nursery,
        await start_process("shard 1", nursery, command=command) as process,
    ):
        reason = await process.wait()
    assert reason.startswith("exit code 1: ")
    assert reason.endswith("No module named no_such_module")


async def test_a_program_that_is_not_there_is_a_shard_error(tmp_path: Path) -> None:
    before = descriptors()
    async with trio.open_nursery() as nursery:
        with pytest.raises(ShardError, match="shard 1 could not be started"):
            await start_process("shard 1", nursery, command=[str(tmp_path / "nothing")])
    assert descriptors() == before


async def test_kill_ends_one_that_runs_and_one_that_is_stopped_and_may_come_late() -> None:
    for stop in [False, True] * runs(3):
        async with running(HANG) as process:
            await process.stream.receive_some(1)
            if stop:
                os.kill(process.pid, signal.SIGSTOP)
            process.kill()
            process.kill()
            assert await process.wait() == "killed by SIGKILL"
            process.kill()


async def test_a_stopped_process_is_not_gone() -> None:
    async with running(HANG) as process:
        await process.stream.receive_some(1)
        os.kill(process.pid, signal.SIGSTOP)
        with trio.move_on_after(0.1) as waited:
            await process.wait()
        assert waited.cancelled_caught


async def test_many_may_wait_and_one_may_give_up() -> None:
    reasons = []

    async def wait(process: ShardProcess) -> None:
        reasons.append(await process.wait())

    async with running(HANG) as process, trio.open_nursery() as nursery:
        await process.stream.receive_some(1)
        for _ in range(3):
            nursery.start_soon(wait, process)
        with trio.move_on_after(0):
            await process.wait()
        process.kill()
    assert reasons == ["killed by SIGKILL"] * 3


async def test_closing_ends_it_whatever_it_is_at_and_can_be_done_again() -> None:
    async with running("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + HANG) as process:
        await process.stream.receive_some(1)
        await process.aclose()
        assert await process.wait() == "killed by SIGKILL"
        await process.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await process.stream.send_all(b"x")


# What it says ------------------------------------------------------------------------------------


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int, str]]:
    return [record for record in caplog.record_tuples if record[0] == "farm.cluster"]


async def test_what_it_prints_is_logged_under_its_name(caplog: pytest.LogCaptureFixture) -> None:
    code = "print('one', flush=True); print('two', file=sys.stderr, flush=True)\n"
    async with running(code) as process:
        await process.wait()
        assert process.last_lines == ("one", "two")
    assert said(caplog) == [("farm.cluster", logging.ERROR, "shard 1: one\ntwo")]


async def test_a_line_is_told_though_the_process_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async with running("print('careful', flush=True)\n" + HANG) as process:
        while not said(caplog):  # noqa: ASYNC110 (logging wakes nobody)
            await trio.sleep(0.01)
        assert said(caplog) == [("farm.cluster", logging.ERROR, "shard 1: careful")]
        assert process.last_lines == ("careful",)


async def test_another_name_holds_from_then_on(caplog: pytest.LogCaptureFixture) -> None:
    async with running("link.recv(1); print('now', flush=True)\n", "spare") as process:
        process.name = "shard 2"
        await process.stream.send_all(b"!")
        await process.wait()
    assert said(caplog) == [("farm.cluster", logging.ERROR, "shard 2: now")]


async def test_all_that_was_written_before_the_end_is_heard(
    caplog: pytest.LogCaptureFixture,
) -> None:
    code = "print('\\n'.join(map(str, range(5000))), flush=True); os.kill(os.getpid(), 9)\n"
    for _ in range(runs(5)):
        caplog.clear()
        async with running(code) as process:
            await process.wait()
            lines = [line for _, _, text in said(caplog) for line in text[9:].splitlines()]
            assert lines == [str(number) for number in range(5000)]


async def test_it_is_heard_out_though_its_nursery_is_cancelled() -> None:
    command = program("link.recv(1); sys.exit('memory limit passed')\n")
    async with trio.open_nursery() as nursery:
        process = await start_process("shard 1", nursery, command=command)
        nursery.cancel_scope.cancel()
    async with process:
        await process.stream.send_all(b"!")
        assert await process.wait() == "exit code 1: memory limit passed"


async def test_who_holds_its_output_open_does_not_keep_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    code = (
        "if os.fork() == 0: os.read(lifeline, 1); os._exit(0)\n"  # ends with our lifeline
        "print('father', flush=True)\n"
    )
    async with running(code) as process:
        assert await process.wait() == "exit code 0"
        assert process.last_lines == ("father",)


# Nothing is left behind --------------------------------------------------------------------------


async def test_no_descriptor_and_no_process_is_left() -> None:
    async with running(ECHO):
        pass
    before = descriptors()
    for _ in range(runs(20)):
        async with running(ECHO):
            pass
    assert descriptors() == before
    assert not children()


async def test_cancelled_at_any_moment_nothing_is_left() -> None:
    async with running(ECHO):
        pass  # what is asked and made but once is there
    before = descriptors()
    for moment in moments(30):
        with trio.move_on_after(moment / 500):
            async with running(HANG) as process:
                await process.stream.receive_some(1)
                process.kill()
                await process.wait()
    with trio.CancelScope() as scope:
        scope.cancel()
        async with running(HANG):
            pass
    assert descriptors() == before
    assert not children()


async def test_closed_under_cancellation_it_is_reaped() -> None:
    before = descriptors()
    async with trio.open_nursery() as nursery:
        process = await start_process("shard 1", nursery, command=program(HANG))
        await process.stream.receive_some(1)
        with trio.CancelScope() as scope:
            scope.cancel()
            await process.aclose()
    assert scope.cancelled_caught
    assert not children()
    assert descriptors() == before


async def test_one_that_not_even_a_kill_ends_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process_module, "REAP_SECONDS", 0.05)
    async with running(HANG) as process:
        await process.stream.receive_some(1)
        with monkeypatch.context() as patch:
            patch.setattr(trio.Process, "kill", lambda self: None)
            await process.aclose()
        text = f"shard 1 (pid {process.pid}) does not end, though killed"
        assert said(caplog) == [("farm.cluster", logging.WARNING, text)]
        process.kill()
        assert await process.wait() == "killed by SIGKILL"


async def test_a_nursery_that_is_closed_leaves_no_process() -> None:
    async with trio.open_nursery() as nursery:
        pass
    before = descriptors()
    with pytest.raises(RuntimeError, match="closed"):
        await start_process("shard 1", nursery, command=program(HANG))
    assert not children()
    assert descriptors() == before


async def test_descriptors_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    pipes = 0
    pipe: Callable[[], tuple[int, int]] = os.pipe

    def scarce() -> tuple[int, int]:
        nonlocal pipes
        pipes += 1
        if pipes == 2:
            raise OSError(24, "Too many open files")
        return pipe()

    this_interpreter()
    before = descriptors()
    monkeypatch.setattr(process_module.os, "pipe", scarce)
    async with trio.open_nursery() as nursery:
        with pytest.raises(ShardError, match="Too many open files"):
            await start_process("shard 1", nursery, command=program(HANG))
    assert descriptors() == before


async def test_the_environment_is_that_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "this_interpreter", lambda: Interpreter((), ("/a", "/b")))
    monkeypatch.setenv("PYTHONPATH", "/c")
    monkeypatch.setenv("FARM_TEST", "x")
    code = "link.sendall((os.environ['PYTHONPATH'] + ' ' + os.environ['FARM_TEST']).encode())\n"
    async with running(code) as process:
        assert await process.stream.receive_some() == b"/a:/b:/c x"
