"""What a shard does with its lines: one thing after the other, and nothing after the drain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast, get_args

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from farm.cluster import commands as commands_file
from farm.cluster.commands import Commands, LineCommand
from farm.cluster.messages import (
    AddStreams,
    Caught,
    Delivering,
    DropLine,
    ExpectHeir,
    ExpectNoHeir,
    FromShard,
    HandedOver,
    HandOver,
    Heir,
    OpenLine,
    RemoveStreams,
    TakeOver,
)
from farm.config import CollectorConfig
from farm.pipeline.handover import OVERLAP
from farm.pipeline.sources import Sources

SPOT = CollectorConfig("binance", "spot", ["BTCUSDT"], ["trade", "book"])
STREAMS = SPOT.streams_of()


@attrs.define(eq=False)
class Line:
    name: str
    held: bool = False


@attrs.define
class Lines:
    """Stands in for sources: ``done`` has what was done to lines. Handing over, and leaving after
    it, take until they may."""

    lines: list[Line] = attrs.field(factory=list)
    done: list[tuple[Any, ...]] = attrs.field(factory=list)
    said: list[FromShard] = attrs.field(factory=list)
    may_hand_over: trio.Event = attrs.field(factory=trio.Event)
    may_leave: trio.Event = attrs.field(factory=trio.Event)
    commands: Commands = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.commands = Commands(self.said.append, self._leave)

    async def open_line(self, collector: CollectorConfig, streams: Any, **more: Any) -> None:
        await trio.lowlevel.checkpoint()
        self.done.append(("open", more["name"], more["first_lane"], more["down_since"]))
        self.lines.append(Line(more["name"], more["held"]))

    def add(self, line: Line, streams: Any) -> None:
        self.done.append(("add", line.name, streams))

    def remove(self, line: Line, streams: Any) -> None:
        self.done.append(("remove", line.name, streams))

    def expect_heir(self, line: Line) -> int:
        self.done.append(("expect heir", line.name))
        return 7

    def expect_no_heir(self, line: Line) -> None:
        self.done.append(("expect no heir", line.name))

    async def discard(self, line: Line) -> None:
        await trio.lowlevel.checkpoint()
        self.done.append(("discard", line.name))
        self.lines.remove(line)

    async def hand_over(self, line: Line) -> bytes | None:
        self.done.append(("hand over", line.name))
        await self.may_hand_over.wait()
        self.lines.remove(line)
        return b"state"

    async def take_over(self, line: Line, state: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.done.append(("take over", line.name, state))
        line.held = False

    async def _leave(self, line: str) -> None:
        self.done.append(("leave", line))
        await self.may_leave.wait()

    @asynccontextmanager
    async def driven(self) -> AsyncIterator[trio.Event]:
        """Its commands are done meanwhile; the event is set when nothing follows any more."""
        ended = trio.Event()

        async def drive() -> None:
            await self.commands.drive(cast("Sources", self))
            ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drive)
            yield ended
            nursery.cancel_scope.cancel()


def opening(line: str = "a", **more: Any) -> OpenLine:
    return OpenLine(line, SPOT, STREAMS, **more)


async def test_what_is_told_is_done_in_order() -> None:
    lines = Lines()
    tell = lines.commands.put
    for message in (
        opening(first_lane=3, down_since={"x": 5}),
        AddStreams("a", STREAMS[:1]),
        RemoveStreams("a", STREAMS[1:]),
        ExpectHeir("a"),
        ExpectNoHeir("a"),
        opening("b", held=True),
        TakeOver("b", b"state"),
        opening("c", held=True),
        DropLine("c"),
        DropLine("a"),  # it is not held: the move was over when this was told
    ):
        tell(message)
    lines.commands.drain()
    await lines.commands.drive(cast("Sources", lines))
    assert lines.done == [
        ("open", "a", 3, {"x": 5}),
        ("add", "a", STREAMS[:1]),
        ("remove", "a", STREAMS[1:]),
        ("expect heir", "a"),
        ("expect no heir", "a"),
        ("open", "b", 1, {}),
        ("take over", "b", b"state"),
        ("open", "c", 1, {}),
        ("discard", "c"),
    ]
    assert lines.said == [Heir("a", 7)]
    assert [line.name for line in lines.lines] == ["a", "b"]


async def test_what_comes_after_the_drain_is_passed_over() -> None:
    """The parent may have told it before it knew."""
    lines = Lines()
    async with lines.driven() as ended:
        lines.commands.put(opening("a"))
        await wait_all_tasks_blocked()
        lines.commands.put(opening("b"))
        lines.commands.drain()
        lines.commands.put(opening("c"))
        lines.commands.put(HandOver("a"))
        lines.commands.drain()
        await wait_all_tasks_blocked()
        assert ended.is_set()
        lines.commands.put(opening("d"))
    assert [entry[:2] for entry in lines.done] == [("open", "a"), ("open", "b")]


def on_unknown_lines() -> Iterator[Any]:
    given = {"streams": STREAMS, "state": b"state"}
    for kind in get_args(LineCommand):
        if kind is Delivering:
            yield Delivering("gone", {})
        elif kind is not OpenLine:
            known = {name: given[name] for name in kind.__struct_fields__ if name in given}
            yield kind(line="gone", **known)


@pytest.mark.parametrize("message", list(on_unknown_lines()), ids=lambda m: type(m).__name__)
async def test_a_line_that_is_not_there_ends_nothing(
    message: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """What was told crossed the end of the line on the way. Where that is no matter of course it
    is in the log."""
    lines = Lines()
    for command in (opening("a"), message, AddStreams("a", STREAMS)):
        lines.commands.put(command)
    lines.commands.drain()
    await lines.commands.drive(cast("Sources", lines))
    assert [entry[0] for entry in lines.done] == ["open", "add"]
    assert lines.said == []
    expected = isinstance(message, Delivering | DropLine | ExpectNoHeir)
    assert ("gone: it is not here any more" in caplog.text) != expected


async def test_a_line_is_handed_over_beside_what_follows() -> None:
    lines = Lines()
    async with lines.driven():
        for message in (opening("a"), opening("b"), HandOver("a"), AddStreams("b", STREAMS)):
            lines.commands.put(message)
        await wait_all_tasks_blocked()
        assert {entry[:2] for entry in lines.done[2:]} == {("add", "b"), ("hand over", "a")}
        assert lines.said == []
        lines.may_hand_over.set()
        await wait_all_tasks_blocked()
        assert lines.said == [], "the parent has not got all that it gave"
        lines.may_leave.set()
        await wait_all_tasks_blocked()
        assert lines.said == [HandedOver("a", b"state")]


async def test_what_is_on_its_way_out_comes_to_its_end_in_a_drain() -> None:
    """Else the parent would wait for a line that nobody has."""
    lines = Lines()
    async with lines.driven() as ended:
        for message in (opening("a"), HandOver("a")):
            lines.commands.put(message)
        lines.commands.drain()
        await wait_all_tasks_blocked()
        assert not ended.is_set()
        lines.may_hand_over.set()
        await wait_all_tasks_blocked()
        assert not ended.is_set()
        lines.may_leave.set()
        await wait_all_tasks_blocked()
        assert ended.is_set()
    assert lines.said == [HandedOver("a", b"state")]


async def test_a_held_line_has_caught_up_when_it_has_had_all_for_a_while(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it was behind again that begins anew; and it is said once in such a while."""
    lines, ready = Lines(), True
    monkeypatch.setattr(commands_file, "line_is_ready", lambda _line, _other: ready)
    async with lines.driven():
        lines.commands.put(opening("a", held=True))

        async def hear(seconds: float) -> None:
            await trio.sleep(seconds)
            lines.commands.put(Delivering("a", {}))
            await wait_all_tasks_blocked()

        await hear(0)
        await hear(OVERLAP - 0.1)
        ready = False
        await hear(0.05)
        ready = True
        await hear(0.05)
        await hear(OVERLAP - 0.1)
        assert lines.said == []
        await hear(0.2)
        await hear(0.1)
    assert lines.said == [Caught("a")]
