"""Frames come as they were sent, however the bytes between were cut; what is none is refused."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from farm.cluster import link as link_file
from farm.cluster.link import Frame, FrameKind, Link
from farm.errors import LinkError
from tests.effort import runs

FRAMES = st.lists(st.tuples(st.sampled_from(FrameKind), st.binary(max_size=40)), max_size=8)


class Pieces(trio.abc.Stream):
    """Keeps what is sent, and gives what it is to be read as in these pieces, then the end."""

    def __init__(self, pieces: Iterator[bytes] | None = None) -> None:
        self.sent = b""
        self._pieces = iter(()) if pieces is None else pieces

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return next(self._pieces, b"")

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError


class Jammed(Pieces):
    """Takes so many bytes of what is sent first, and the rest of it once it is ``opened``."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.opened = trio.Event()
        self._count = count

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        count, self._count = self._count, 0
        self.sent += data[:count]
        await self.opened.wait()
        self.sent += data[count:]


def sent(frames: list[Frame]) -> bytes:
    stream = Pieces()
    trio.run(Link(stream).send, frames)
    return stream.sent


def reads(data: bytes, cuts: list[int]) -> list[list[Frame]]:
    """What `receive` gives, read by read, of bytes that come in pieces."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = (data[start:end] for start, end in pairwise(places))

    async def receive_all() -> list[list[Frame]]:
        link, given = Link(Pieces(pieces)), []
        while frames := await link.receive():
            given.append(frames)
        return given

    return trio.run(receive_all)


@settings(max_examples=runs(200))
@given(FRAMES, st.lists(st.integers(0, 2**32), max_size=20))
def test_frames_come_in_order_however_the_bytes_are_cut(
    frames: list[Frame], cuts: list[int]
) -> None:
    given = reads(sent(frames), cuts)
    assert [frame for read in given for frame in read] == frames
    assert all(type(kind) is FrameKind for read in given for kind, _ in read)


def test_frames_come_in_order_byte_by_byte() -> None:
    frames = [(FrameKind.BUNDLE, b"abc"), (FrameKind.MESSAGE, b""), (FrameKind.BOOKS, b"x" * 300)]
    data = sent(frames)
    assert reads(data, list(range(len(data)))) == [[frame] for frame in frames]
    assert reads(data, []) == [frames]


def test_nothing_sent_is_the_end() -> None:
    assert sent([]) == b""
    assert reads(b"", []) == []


@pytest.mark.parametrize("size", range(1, 5 + 7))
def test_an_end_within_a_frame_is_an_error(size: int) -> None:
    whole = sent([(FrameKind.MESSAGE, b"payload")])
    assert size < len(whole)
    with pytest.raises(LinkError, match=rf"within a frame \({size} bytes\)"):
        reads(whole + whole[:size], [len(whole)])


@pytest.mark.parametrize("kind", [3, 255])
def test_another_kind_is_no_frame(kind: int) -> None:
    with pytest.raises(LinkError, match=f"of kind {kind}"):
        reads(struct.pack("<IB", 0, kind), [])


def test_a_length_beyond_the_bound_is_no_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused by its head, before anything of it is kept."""
    monkeypatch.setattr(link_file, "MAX_FRAME", 10)
    frame = (FrameKind.BUNDLE, bytes(10))
    assert reads(sent([frame]), []) == [[frame]]
    with pytest.raises(LinkError, match="11 bytes"):
        reads(struct.pack("<IB", 11, FrameKind.BUNDLE), [])


async def test_who_sends_at_the_same_time_does_not_mix() -> None:
    """The stream takes a few bytes at a time, and lets others run between."""
    ours, theirs = memory_stream_pair()
    pump = ours.send_stream.send_all_hook

    async def slowly() -> None:
        await trio.lowlevel.checkpoint()
        if pump is not None:
            await pump()

    ours.send_stream.send_all_hook = slowly
    writer, reader = Link(ours), Link(theirs)

    async def send(number: int) -> None:
        payloads = [bytes([number]) * size for size in (1, 100, 0, 1000)]
        await writer.send((FrameKind.BUNDLE, payload) for payload in payloads)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(send, number)
    await writer.aclose()
    got = []
    while frames := await reader.receive():
        got += [payload for _, payload in frames]
    groups = [got[start : start + 4] for start in range(0, len(got), 4)]
    assert [list(map(len, group)) for group in groups] == [[1, 100, 0, 1000]] * 5
    assert sorted({byte for group in groups for byte in b"".join(group)}) == [0, 1, 2, 3, 4]
    assert all(len(set(b"".join(group))) == 1 for group in groups)


@pytest.mark.parametrize("sent_bytes", [0, 3, 20])
async def test_after_a_send_that_was_cut_off_nothing_can_be_sent(sent_bytes: int) -> None:
    """How much of it went out nobody knows; what came behind it would be read as its rest."""
    stream = Jammed(sent_bytes)
    link = Link(stream)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.send, [(FrameKind.BUNDLE, bytes(100))])
            await wait_all_tasks_blocked()
            scope.cancel()
    assert len(stream.sent) == sent_bytes
    stream.opened.set()
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError, match="cut off"):
            await link.send([(FrameKind.MESSAGE, b"x")])
    assert len(stream.sent) == sent_bytes


async def test_who_waited_for_a_send_that_was_cut_off_sends_nothing() -> None:
    stream = Jammed(7)
    link = Link(stream)
    refused: list[str] = []

    async def send_after() -> None:
        try:
            await link.send([(FrameKind.MESSAGE, b"x")])
        except trio.BrokenResourceError as error:
            refused.append(str(error))

    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as first:
            first.start_soon(link.send, [(FrameKind.BUNDLE, bytes(100))])
            await wait_all_tasks_blocked()
            nursery.start_soon(send_after)
            await wait_all_tasks_blocked()
            first.cancel_scope.cancel()
        stream.opened.set()
    assert len(refused) == 1
    assert len(stream.sent) == 7


async def test_who_gives_up_waiting_for_its_turn_cuts_nothing_off() -> None:
    stream = Jammed(0)
    link = Link(stream)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.send, [(FrameKind.BUNDLE, b"abc")])
        await wait_all_tasks_blocked()
        with trio.move_on_after(0):
            await link.send([(FrameKind.MESSAGE, b"never")])
        stream.opened.set()
    await link.send([(FrameKind.MESSAGE, b"x")])
    frames = await Link(Pieces(iter([stream.sent]))).receive()
    assert frames == [(FrameKind.BUNDLE, b"abc"), (FrameKind.MESSAGE, b"x")]


async def test_an_end_that_is_gone_refuses_what_is_sent() -> None:
    ours, theirs = memory_stream_pair()
    await theirs.aclose()
    with pytest.raises(trio.BrokenResourceError):
        await Link(ours).send([(FrameKind.MESSAGE, b"x")])


async def test_a_link_that_breaks_has_ended() -> None:
    """As it does where a process is killed that had something unread."""
    ours, theirs = memory_stream_pair()
    link = Link(theirs)
    await Link(ours).send([(FrameKind.MESSAGE, b"x")])
    assert await link.receive() == [(FrameKind.MESSAGE, b"x")]

    async def breaks() -> None:
        raise trio.BrokenResourceError

    theirs.receive_stream.receive_some_hook = breaks
    assert await link.receive() == []
