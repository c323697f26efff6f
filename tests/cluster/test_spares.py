"""Processes that stand in advance: taken at once, replaced when they die, and never in a storm."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import attrs
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from farm.cluster import spares as spares_file
from farm.cluster.link import FrameKind, Link
from farm.cluster.messages import Beat, FromShard, Ready, encode
from farm.cluster.spares import Spares
from farm.errors import FarmError, LinkError, ShardError

AGAIN, START = spares_file.AGAIN_SECONDS, spares_file.START_SECONDS


@attrs.define(eq=False)
class Process:
    """Stands in for a process: what it says is up to `begin`."""

    name: str
    pid: int
    stream: trio.abc.Stream
    its_end: trio.abc.Stream
    last_lines: Sequence[str] = ()
    gone: trio.Event = attrs.field(factory=trio.Event)
    closed: int = 0
    killed: bool = False

    async def wait(self) -> str:
        await self.gone.wait()
        return "killed by SIGKILL" if self.killed else "exit code 3"

    def kill(self) -> None:
        self.killed = True
        self.gone.set()

    async def aclose(self) -> None:
        self.kill()
        self.closed += 1
        with trio.CancelScope(shield=True):
            await self.stream.aclose()


Begin = Callable[[Process], Awaitable[None]]


async def stand(process: Process) -> None:
    await say(process, Ready(process.pid))


async def say(process: Process, message: FromShard) -> None:
    await Link(process.its_end).send([(FrameKind.MESSAGE, encode(message))])


async def exit_at_once(process: Process) -> None:
    process.gone.set()
    await process.its_end.aclose()


async def stand_and_die(process: Process) -> None:
    await stand(process)
    process.kill()


@attrs.define(eq=False)
class Starter:
    """Starts such processes, the next of which do what ``begins`` says, the others stand. A start
    takes `seconds`, or fails by ``error``."""

    seconds: float = 1.0
    begins: list[Begin] = attrs.field(factory=list)
    always: Begin = stand
    error: Exception | None = None
    started: list[Process] = attrs.field(factory=list)
    times: list[float] = attrs.field(factory=list)

    async def start(self, name: str, nursery: trio.Nursery) -> Process:
        self.times.append(trio.current_time())
        if self.error is not None:
            raise self.error
        ours, theirs = memory_stream_pair()
        process = Process(name, 100 + len(self.started), ours, theirs)
        self.started.append(process)
        begin = self.begins.pop(0) if self.begins else self.always

        async def run() -> None:
            await trio.sleep(self.seconds)
            await begin(process)

        nursery.start_soon(run)
        return process

    @property
    def left(self) -> list[Process]:
        return [process for process in self.started if not process.closed]


@asynccontextmanager
async def running(starter: Starter, *, keep: bool = True) -> AsyncIterator[Spares]:
    spares = Spares(starter.start, keep=keep)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spares.run)
        await wait_all_tasks_blocked()
        yield spares
        nursery.cancel_scope.cancel()


# ------------------------------------------------------------------------------------------- taken
async def test_one_is_taken_while_there_is_none(autojump_clock: MockClock) -> None:
    """It is waited for, and belongs to who took it."""
    starter = Starter()
    async with running(starter, keep=False) as spares:
        standing = await spares.take("shard 1")
        (process,) = starter.started
        assert standing.process is process
        assert (process.name, standing.pid) == ("shard 1", process.pid)
        assert trio.current_time() == pytest.approx(starter.times[0] + 1.0)
        await say(process, Beat(1, 1, 0.0, 1))
        assert len(await standing.link.receive()) == 1
        await trio.sleep(100)
    assert len(starter.started) == 1
    assert process.closed == 0


async def test_a_spare_is_taken_at_once_and_another_made(autojump_clock: MockClock) -> None:
    starter = Starter()
    async with running(starter) as spares:
        assert starter.started == [], "at the start there is enough to do"
        spares.keep_one()
        await trio.sleep(10)
        assert [process.name for process in starter.started] == ["spare shard"]
        now = trio.current_time()
        standing = await spares.take("shard 2")
        assert trio.current_time() == now
        assert standing.process is starter.started[0]
        assert (standing.process.name, standing.pid) == ("shard 2", 100)
        await trio.sleep(10)
        assert [process.name for process in starter.started] == ["shard 2", "spare shard"]
        await trio.sleep(1000)
        assert len(starter.started) == 2
    assert [process.closed for process in starter.started] == [0, 1], "who took it closes it"


async def test_several_are_taken_at_once(autojump_clock: MockClock) -> None:
    """One has the spare, and the others one each of their own; none is given twice."""
    starter = Starter()
    taken: list[int] = []

    async def take(spares: Spares, number: int) -> None:
        taken.append((await spares.take(f"shard {number}")).pid)

    async with running(starter) as spares:
        spares.keep_one()
        await trio.sleep(10)
        async with trio.open_nursery() as nursery:
            for number in range(1, 5):
                nursery.start_soon(take, spares, number)
        await trio.sleep(10)
        assert len(set(taken)) == 4
        assert len(starter.started) == 5
        assert [process.name for process in starter.left].count("spare shard") == 1


async def test_one_that_is_taken_while_a_spare_is_under_way_waits_for_its_own(
    autojump_clock: MockClock,
) -> None:
    starter = Starter(seconds=5.0)
    async with running(starter) as spares:
        spares.keep_one()
        await trio.sleep(4)
        first = await spares.take("shard 1")
        second = await spares.take("shard 2")  # stands by now
        assert (first.process.name, second.process.name) == ("shard 1", "shard 2")
        assert starter.started[:2] == [second.process, first.process]


async def test_without_keep_none_is_made(autojump_clock: MockClock) -> None:
    starter = Starter()
    async with running(starter, keep=False) as spares:
        spares.keep_one()
        await trio.sleep(100)
    assert starter.started == []


async def test_one_may_be_taken_before_they_run(autojump_clock: MockClock) -> None:
    """A farm begins with both at once, and Trio runs them in any order."""
    starter = Starter()
    spares = Spares(starter.start, keep=False)
    async with trio.open_nursery() as nursery:
        taken: list[str] = []

        async def take() -> None:
            taken.append((await spares.take("shard 1")).process.name)

        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        nursery.start_soon(spares.run)
        await trio.sleep(5)
        assert taken == ["shard 1"]
        nursery.cancel_scope.cancel()


# -------------------------------------------------------------------------------------- what fails
async def say_something_else(process: Process) -> None:
    await say(process, Beat(1, 1, 0.0, 1))


async def say_nonsense(process: Process) -> None:
    await process.its_end.send_all(b"Traceback (most recent call last)")


async def say_half(process: Process) -> None:
    await process.its_end.send_all(b"\x00\x00")
    await process.its_end.aclose()


async def hang(process: Process) -> None:
    pass


async def end_its_link(process: Process) -> None:
    await process.its_end.aclose()


@pytest.mark.parametrize(
    ("begin", "error", "reason"),
    [
        (exit_at_once, ShardError, "shard 1 did not start: exit code 3"),
        (say_something_else, ShardError, "did not say that it stands"),
        (say_nonsense, LinkError, "no frame"),
        (say_half, LinkError, "within a frame"),
        (hang, ShardError, f"did not stand within {START:g} s"),
        (end_its_link, ShardError, f"did not stand within {START:g} s"),  # and lives on
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_one_that_does_not_come_about_is_an_error_and_nothing_is_left_of_it(
    begin: Begin, error: type[FarmError], reason: str, autojump_clock: MockClock
) -> None:
    starter = Starter(begins=[begin])
    async with running(starter) as spares:
        with pytest.raises(error, match=reason):
            await spares.take("shard 1")
        assert starter.started[0].closed
        assert (await spares.take("shard 1")).process.name == "shard 1"


async def test_a_start_that_fails_is_an_error(autojump_clock: MockClock) -> None:
    starter = Starter(error=ShardError("no more processes"))
    async with running(starter, keep=False) as spares:
        with pytest.raises(ShardError, match="no more processes"):
            await spares.take("shard 1")


@pytest.mark.parametrize("begin", [exit_at_once, say_nonsense, stand_and_die])
async def test_spares_that_fail_are_made_again_after_a_pause(
    begin: Begin, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Be it before they stand or just after: each start costs what a farm may need itself."""
    starter = Starter(begins=[begin] * 3)
    async with running(starter) as spares:
        spares.keep_one()
        await trio.sleep(100)
        assert len(starter.started) == 4
        pauses = [b - a for a, b in pairwise(starter.times)]
        assert pauses == [pytest.approx(AGAIN + starter.seconds)] * 3
        assert [bool(process.closed) for process in starter.started] == [True, True, True, False]
        assert (await spares.take("shard 1")).process is starter.started[3]
    assert len([r for r in caplog.records if r.name == "farm.cluster"]) == 3
    assert starter.left == [starter.started[3]]


async def test_starts_that_fail_do_not_end_the_farm(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    starter = Starter(error=ShardError("no more processes"))
    async with running(starter) as spares:
        spares.keep_one()
        await trio.sleep(AGAIN * 2.5)
        assert len(starter.times) == 3
        starter.error = None
        await trio.sleep(AGAIN * 2)
        now = trio.current_time()
        await spares.take("shard 1")
        assert trio.current_time() == now
    assert "no spare process: no more processes" in caplog.text


async def test_a_spare_that_dies_is_given_to_nobody(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    starter = Starter()
    async with running(starter) as spares:
        spares.keep_one()
        await trio.sleep(10)
        starter.started[0].kill()
        await wait_all_tasks_blocked()
        assert starter.started[0].closed == 1
        standing = await spares.take("shard 1")
        assert standing.process is starter.started[1]
        await trio.sleep(10)
        assert len(starter.started) == 3, "and there is a spare again"
    assert "the spare process is gone: killed by SIGKILL" in caplog.text


async def test_the_death_of_one_that_was_taken_is_no_matter_here(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    starter = Starter()
    async with running(starter) as spares:
        spares.keep_one()
        await trio.sleep(10)
        standing = await spares.take("shard 1")
        await trio.sleep(10)
        standing.process.kill()
        await trio.sleep(100)
        assert len(starter.started) == 2
        assert [process.closed for process in starter.started] == [0, 0]
    assert caplog.text == ""


# ----------------------------------------------------------------------------------------- the end
@pytest.mark.parametrize("moment", [0.0, 0.5, 1.0, 1.5, 50.0])
async def test_no_process_is_left_at_the_end(moment: float, autojump_clock: MockClock) -> None:
    """Whether a spare is starting, or waits."""
    starter = Starter()
    async with running(starter) as spares:
        spares.keep_one()
        await trio.sleep(moment)
    assert starter.left == []


async def test_who_gives_up_waiting_leaves_no_process(autojump_clock: MockClock) -> None:
    starter = Starter()
    async with running(starter, keep=False) as spares:
        with trio.move_on_after(0.5) as scope:
            await spares.take("shard 1")
        assert scope.cancelled_caught
        assert starter.left == []
