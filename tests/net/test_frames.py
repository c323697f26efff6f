"""The frame walker: bytes in, messages and everything else out."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from farm.net.frames import FrameWalker, ResponseHead
from tests.net.peers import ANSWER, close_frame, frame, text

LIMIT = 1 << 20
NOT_UTF8 = b"ab\xc3\x28"


def walk(reads: list[bytes], limit: int = LIMIT) -> tuple[list[bytes], bytes, FrameWalker]:
    walker = FrameWalker(limit)
    messages: list[bytes] = []
    onward = b""
    for data in reads:
        found, rest = walker.walk(data)
        messages += found
        onward += rest
    return messages, onward, walker


def wsproto_verdict(data: bytes) -> tuple[list[bytes], int | None]:
    """The messages that wsproto finds in `data`, and the code of its refusal."""
    protocol = FrameProtocol(client=True, extensions=[])
    protocol.receive_bytes(data)
    messages: list[bytes] = []
    parts = b""
    try:
        for found in protocol.received_frames():
            if found.opcode in (Opcode.TEXT, Opcode.BINARY):
                payload = found.payload
                assert not isinstance(payload, tuple)
                parts += payload.encode() if isinstance(payload, str) else payload
                if found.message_finished:
                    messages.append(parts)
                    parts = b""
    except ParseFailed as exc:
        return messages, int(exc.code)
    return messages, None


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    marks = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(marks)]


@st.composite
def lawful_units(draw: st.DrawFn) -> bytes:
    """A whole message, fragmented or not, with pings between its fragments; or a pong."""
    kind = draw(st.sampled_from(["text", "binary", "fragmented", "ping", "pong"]))
    if kind in ("ping", "pong"):
        return frame(0x89 if kind == "ping" else 0x8A, draw(st.binary(max_size=125)))
    size = draw(st.sampled_from([0, 1, 30, 125, 126, 300, 65535, 65536, 70000]))
    payload = (draw(st.sampled_from(["x", "price", "币安人生USDT", "ä€😀"])).encode() * size)[:size]
    payload = payload.decode(errors="ignore").encode()
    opcode = 2 if kind == "binary" else 1
    if kind != "fragmented":
        return frame(0x80 | opcode, payload)
    parts = pieces(payload, draw(st.lists(st.integers(0, 70000), max_size=4)))
    units = [frame(opcode, parts[0])]
    for part in parts[1:]:
        units += [frame(0x89, b"between"), frame(0x00, part)]
    return b"".join([*units, frame(0x80, b"")])


@given(st.lists(lawful_units(), max_size=6), st.lists(st.integers(0, 1 << 20), max_size=12))
def test_any_split_gives_what_wsproto_gives(units: list[bytes], cuts: list[int]) -> None:
    data = b"".join(units)
    messages, onward, walker = walk(pieces(data, cuts))
    expected, code = wsproto_verdict(data)
    assert code is None
    assert messages == expected
    assert wsproto_verdict(onward) == ([], None)
    assert not walker.over
    whole, all_onward, _ = walk([data])
    assert (whole, all_onward) == (messages, onward)


def test_split_at_every_byte() -> None:
    long = "x" * 70000
    ping, pong = frame(0x89, b"are you there"), frame(0x8A)
    data = (
        text("ä first")
        + ping
        + frame(0x82, bytes(range(256)))
        + frame(0x01, "€".encode()[:1])
        + pong
        + frame(0x00, "€".encode()[1:2])
        + frame(0x80, "€".encode()[2:])
        + text("")
    )
    expected = ["ä first".encode(), bytes(range(256)), "€".encode(), b""]
    for cut in range(len(data) + 1):
        messages, onward, walker = walk([data[:cut], data[cut:]])
        assert (messages, onward, walker.pings) == (expected, ping + pong, 1), cut
    one_by_one, onward, _ = walk([bytes([byte]) for byte in data])
    assert (one_by_one, onward) == (expected, ping + pong)
    head = text(long)[:20]
    for cut in range(20):
        assert walk([head[:cut], head[cut:] + text(long)[20:]])[0] == [long.encode()]


BROKEN_FRAMES = {
    "masked": frame(0x81, b"hello", mask=b"\0\0\0\0"),
    "masked, 16 bit length": frame(0x81, b"x" * 300, mask=b"\1\2\3\4"),
    "masked, 64 bit length": frame(0x82, b"x" * 70000, mask=b"\1\2\3\4"),
    "reserved bit 1": frame(0xC1, b"compressed?"),
    "reserved bit 2": frame(0xA2, b"x" * 200),
    "reserved bit 3 on a ping": frame(0x99, b""),
    "reserved data opcode": frame(0x83, b"x"),
    "reserved control opcode": frame(0x8B, b"x"),
    "fragmented ping": frame(0x09, b"x"),
    "long ping": frame(0x89, b"x" * 126),
    "masked ping": frame(0x89, b"x", mask=b"\0\0\0\0"),
    "continuation of nothing": frame(0x80, b"x" * 20),
    "empty continuation of nothing": frame(0x00),
    "16 bit length for 5 bytes": b"\x81\x7e\x00\x05hello",
    "64 bit length for 5 bytes": b"\x81\x7f" + (5).to_bytes(8, "big") + b"hello",
    "top bit of the length": b"\x82\x7f\x80" + bytes(7) + b"x" * 20,
    "new message in a fragmented one": frame(0x01, b"begin") + text("other"),
    "not UTF-8": frame(0x81, NOT_UTF8),
    "not UTF-8, 300 bytes": frame(0x81, NOT_UTF8 * 75),
    "not UTF-8 over fragments": frame(0x01, "€".encode()[:2]) + frame(0x80, b"x"),
    "ends within a character": frame(0x81, "€".encode()[:2]),
    "a surrogate": frame(0x81, b"\xed\xa0\x80"),
}


@pytest.mark.parametrize("broken", BROKEN_FRAMES.values(), ids=BROKEN_FRAMES.keys())
@pytest.mark.parametrize("chunk", [1, 3, 1 << 20])
def test_breach_is_refused_as_wsproto_refuses_it(broken: bytes, chunk: int) -> None:
    data = text("good") + frame(0x89, b"p") + broken + text("never seen") * 3
    expected, code = wsproto_verdict(data)
    assert code in (1002, 1007)
    reads = [data[at : at + chunk] for at in range(0, len(data), chunk)]
    messages, onward, walker = walk(reads)
    assert messages == expected == [b"good"]
    assert walker.over
    assert walker.finished
    assert onward.startswith(frame(0x89, b"p"))
    if walker.refusal is not None:
        assert walker.refusal[0] == code
        assert onward == frame(0x89, b"p")
    else:
        assert wsproto_verdict(onward) == ([], code)
        assert len(onward) <= len(frame(0x89, b"p")) + 16


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_random_bytes_never_give_what_wsproto_would_not(data: bytes, cuts: list[int]) -> None:
    messages, onward, walker = walk(pieces(data, cuts), limit=50)
    expected, code = wsproto_verdict(data)
    assert messages == expected[: len(messages)]
    handed_on, onward_code = wsproto_verdict(onward)
    assert handed_on == []
    if walker.refusal is None and onward_code is None:  # nothing wrong as far as we can tell
        assert messages == expected
        assert code in (None, 1007)  # wsproto looks into messages that aren't complete yet


def test_messages_up_to_the_limit_and_no_longer() -> None:
    for size in (0, 100, 125, 126, 200, 70000):
        assert walk([frame(0x82, b"x" * size)], limit=size)[0] == [b"x" * size]
        if size:
            messages, onward, walker = walk([frame(0x82, b"x" * size)], limit=size - 1)
            assert (messages, onward) == ([], b"")
            assert walker.refusal is not None
            assert walker.refusal[0] == 1009


def test_long_message_is_refused_by_its_header_alone() -> None:
    walker = FrameWalker(1000)
    walker.walk(b"\x82\x7f" + (1 << 40).to_bytes(8, "big"))
    assert walker.refusal is not None
    assert walker.refusal[0] == 1009
    assert walker.finished


@pytest.mark.parametrize("fragment", [b"x" * 100, b"x", b""])
def test_endless_fragments_are_refused_in_bounded_memory(fragment: bytes) -> None:
    walker = FrameWalker(1000)
    walker.walk(frame(0x02, fragment))
    for _ in range(70):
        messages, onward = walker.walk(frame(0x00, fragment) * 1000)
        assert (messages, onward) == ([], b"")
        if walker.refusal is not None:
            break
    assert walker.refusal is not None
    assert walker.refusal[0] == 1009


def test_many_fragments_of_one_message_are_fine_and_the_count_starts_anew() -> None:
    message = frame(0x02, b"x") + frame(0x00, b"x") * 40_000 + frame(0x80)
    messages, _, walker = walk([message, message])
    assert messages == [b"x" * 40_001] * 2
    assert walker.refusal is None


def test_close_ends_the_messages_and_is_handed_on() -> None:
    data = text("before") + close_frame(1001, "bye") + text("after")
    for cut in range(len(data) + 1):
        messages, onward, walker = walk([data[:cut], data[cut:], text("later")])
        assert messages == [b"before"]
        assert onward == close_frame(1001, "bye")
        assert walker.over
        assert not walker.finished  # the peer's end of stream is still to come


def test_while_closing_pings_are_dropped_and_the_close_is_not() -> None:
    walker = FrameWalker(LIMIT)
    walker.closing = True
    messages, onward = walker.walk(
        frame(0x89, b"p") + text("late") + frame(0x8A) + close_frame(1000)
    )
    assert messages == [b"late"]
    assert onward == close_frame(1000)
    assert walker.pings == 1


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
def test_end_of_the_handshake_at_every_split(newline: bytes) -> None:
    answer = ANSWER.replace(b"\r\n", newline)
    data = answer + text("first\r\n\r\n")
    for cut in range(len(data) + 1):
        head = ResponseHead()
        onward, rest = head.feed(data[:cut])
        if head.status == 101:
            assert (onward, rest + data[cut:]) == (answer, text("first\r\n\r\n"))
        else:
            assert (onward, rest) == (data[:cut], b"")
            onward_2, rest = head.feed(data[cut:])
            assert (onward + onward_2, rest) == (answer, text("first\r\n\r\n"))
            assert head.status == 101


def test_whatever_is_no_101_passes_whole() -> None:
    for data, status in [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n\x81\x01x", 403),
        (b"SSH-2.0\r\n\r\n\x81\x01x", 0),
        (b"x" * 70_000, None),
    ]:
        head = ResponseHead()
        assert head.feed(data) == (data, b"")
        assert head.feed(b"\r\n\r\n\x81\x01y") == (b"\r\n\r\n\x81\x01y", b"")
        assert head.status == status
