"""No child outlives its parent: parents that are killed, and children that do not want to end.

In each test a middle process is the parent of a child. Both can write to the pipe of the test: when
it ends, both are gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.effort import runs

DEADLINE = 30.0  # until something that must happen is given up

MIDDLE = """
import os, subprocess, sys, time
read, write = os.pipe()
subprocess.Popen([sys.executable, "-c", sys.argv[1], str(read)], pass_fds=[read])
os.close(read)
{then}
time.sleep(600)
"""

CHILD = """
import os, sys, time, threading, trio
from farm.cluster.lifeline import watch_lifeline
fd = int(sys.argv[1])
ended = threading.Event()
def tell(text): os.write(1, text.encode() + b"\\n")
def lost():
    tell("lost")
    {lost}
{first}
watch_lifeline(fd, lost, last_seconds={last})
tell("ready")
{main}
"""
ON_ITS_OWN = 600.0  # last seconds of a child that is to end by itself


def child(
    main: str = "time.sleep(600)", *, lost: str = "", first: str = "", last: float = 0.05
) -> str:
    return CHILD.format(main=main, lost=lost, first=first, last=last)


class Middle:
    """The process that is a parent, and what its child tells."""

    def __init__(self, code: str, then: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", MIDDLE.format(then=then), code],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().strip()

    def rest(self) -> list[str]:
        """What comes until all who could write are gone."""
        assert self.process.stdout is not None
        return self.process.stdout.read().decode().split()

    def end_all(self) -> None:
        """End it and its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


@contextmanager
def middle(code: str, then: str = "") -> Iterator[Middle]:
    parent = Middle(code, then)
    alarm_rang = threading.Event()

    def give_up() -> None:
        alarm_rang.set()
        parent.end_all()

    alarm = threading.Timer(DEADLINE, give_up)
    alarm.start()
    try:
        with parent.process:
            yield parent
            assert not alarm_rang.is_set(), "the child is still there"
    finally:
        alarm.cancel()
        parent.end_all()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_child_ends_with_its_parent(number: signal.Signals) -> None:
    for _ in range(runs(2)):
        with middle(child()) as parent:
            assert parent.line() == "ready"
            parent.process.send_signal(number)
            assert parent.rest() == ["lost"]


def test_a_parent_that_ends_by_itself_is_gone_too() -> None:
    code = child("ended.wait()", lost="ended.set()", last=ON_ITS_OWN)
    with middle(code, then="os._exit(0)") as parent:
        assert sorted(parent.rest()) == ["lost", "ready"]


def test_a_parent_that_was_gone_before_the_child_looked_is_missed() -> None:
    first = "import select; select.select([fd], [], [])"
    code = child("ended.wait()", lost="ended.set()", first=first, last=ON_ITS_OWN)
    with middle(code, then="os._exit(0)") as parent:
        assert sorted(parent.rest()) == ["lost", "ready"]


def test_a_parent_that_lives_is_not_lost() -> None:
    with middle(child("time.sleep(0.8); tell('alive'); time.sleep(600)")) as parent:
        assert [parent.line(), parent.line()] == ["ready", "alive"]
        parent.process.kill()
        assert parent.rest() == ["lost"]


def test_a_fork_of_the_parent_does_not_keep_the_child() -> None:
    fork = "if os.fork() == 0:\n    os.close(1)\n    time.sleep(600)"
    with middle(child(), then=fork) as parent:
        assert parent.line() == "ready"
        parent.process.kill()
        assert parent.rest() == ["lost"]


@pytest.mark.parametrize(
    "main",
    [
        "while True: pass",
        "os.read(os.pipe()[0], 1)",
        "threading.Thread(target=time.sleep, args=(600,)).start()",  # waited for at the end
        "trio.run(trio.sleep_forever)",
    ],
)
def test_it_ends_whatever_its_main_thread_is_at(main: str) -> None:
    with middle(child(main)) as parent:
        assert parent.line() == "ready"
        parent.process.kill()
        assert parent.rest() == ["lost"]


@pytest.mark.parametrize("lost", ["1 / 0", "time.sleep(600)", "ended.wait()", "sys.exit(3)"])
def test_it_ends_whatever_becomes_of_the_call(lost: str) -> None:
    with middle(child(lost=lost)) as parent:
        assert parent.line() == "ready"
        parent.process.kill()
        assert parent.rest() == ["lost"]


def test_there_is_time_to_come_to_an_end() -> None:
    main = "ended.wait(); tell('whole')"
    with middle(child(main, lost="ended.set()", last=ON_ITS_OWN)) as parent:
        assert parent.line() == "ready"
        parent.process.kill()
        assert parent.rest() == ["lost", "whole"]


TRIO = """
async def main():
    global token, drained
    token, drained = trio.lowlevel.current_trio_token(), trio.Event()
    watch_lifeline(fd, lost, last_seconds=600)
    tell("ready")
    await drained.wait()
    tell("whole")
trio.run(main)
sys.exit()
"""


def test_trio_can_be_asked_to_drain() -> None:
    code = child(first=TRIO, lost="trio.from_thread.run_sync(drained.set, trio_token=token)")
    with middle(code) as parent:
        assert parent.line() == "ready"
        parent.process.kill()
        assert parent.rest() == ["lost", "whole"]


def test_children_of_the_child_do_not_inherit_it() -> None:
    with middle(child("tell(str(os.get_inheritable(fd))); time.sleep(600)")) as parent:
        assert [parent.line(), parent.line()] == ["ready", "False"]
        parent.process.kill()
        assert parent.rest() == ["lost"]
