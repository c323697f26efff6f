"""Spoilt frames: bit for bit on a raw client, and what stands in their texts."""

from __future__ import annotations

import gzip
import json
import random
from typing import get_args

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from farm.testing import FaultScript
from farm.testing.faults import Corrupt, Corruption
from farm.testing.faults.corruption import corrupted, payload_of
from farm.testing.wire import text_frame
from tests.testing.clients import masked_frame
from tests.testing.faults.world import (
    BINARY,
    CLOSE,
    TEXT,
    Frame,
    RawClient,
    World,
    everywhere,
    in_memory,
    tell,
    until,
)

TRADE = '{"e":"trade","E":1786320000123,"s":"BTCUSDT","t":77,"p":"61000.10","q":"0.25","m":true}'
FIN_TEXT, FIN_BINARY = 0x80 | TEXT, 0x80 | BINARY


async def spoilt(world: World, how: Corruption, count: int = 1, frames: int = 1) -> list[Frame]:
    """The frames in place of `count` trades, behind which the next trade comes whole."""
    async with world.opened(world.binance(faults=FaultScript(seed=3))) as fake:
        client = await world.ws(fake)
        fake.strike(Corrupt(0, "x@trade", how=how, count=count))
        pushes = tell(fake, "x@trade", *[TRADE] * (count + 1))
        received = [await client.frame() for _ in range(count * frames)]
        assert await client.text() == TRADE
        assert [event.push for event in fake.fault_log] == pushes[:count]
        return received


def text_of(frame: Frame) -> str:
    assert frame.first == FIN_TEXT
    assert not frame.second & 0x80
    return frame.payload.decode()


@everywhere
async def test_garbage_is_text_that_is_no_json(world: World) -> None:
    texts = [text_of(frame) for frame in await spoilt(world, "garbage", count=3)]
    assert len(set(texts)) == 3
    for text in texts:
        with pytest.raises(ValueError):
            json.loads(text)


@everywhere
async def test_truncated_texts_begin_as_the_right_one(world: World) -> None:
    for frame in await spoilt(world, "truncate", count=3):
        assert TRADE.startswith(text_of(frame))
        assert 0 < len(frame.payload) < len(TRADE)


@everywhere
async def test_gzip_comes_as_binary_and_as_text(world: World) -> None:
    frames = await spoilt(world, "gzip", frames=2)
    assert [frame.first for frame in frames] == [FIN_BINARY, FIN_TEXT]
    assert [gzip.decompress(frame.payload).decode() for frame in frames] == [TRADE, TRADE]


@everywhere
async def test_binary_is_the_right_text(world: World) -> None:
    [frame] = await spoilt(world, "binary")
    assert (frame.first, frame.payload.decode()) == (FIN_BINARY, TRADE)


@everywhere
async def test_utf8_is_broken_once(world: World) -> None:
    [frame] = await spoilt(world, "utf8")
    assert frame.first == FIN_TEXT
    with pytest.raises(UnicodeDecodeError):
        frame.payload.decode()
    assert frame.payload.replace(b"\xff\xfe", b"").decode() == TRADE


@everywhere
async def test_deep_json_stands_in_place_of_a_value(world: World) -> None:
    [frame] = await spoilt(world, "deep")
    nest = "[" * 100_000 + "]" * 100_000
    before, found, after = text_of(frame).partition(nest)
    assert found
    assert isinstance(json.loads(f"{before}0{after}"), dict)


@everywhere
async def test_a_huge_number_stands_in_place_of_one(world: World) -> None:
    [frame] = await spoilt(world, "huge")
    before, found, after = text_of(frame).partition("9" * 5_000)
    assert found
    assert json.loads(f"{before}0{after}").keys() == json.loads(TRADE).keys()


@everywhere
async def test_odd_numbers_stand_in_place_of_prices_in_turn(world: World) -> None:
    messages = [json.loads(text_of(frame)) for frame in await spoilt(world, "nan", count=6)]
    whole = json.loads(TRADE)
    odd = [value for message in messages for name, value in message.items() if value != whole[name]]
    assert [str(value).lower() for value in odd] == ["nan", "nan", "inf", "infinity",
                                                     "-inf", "-infinity"]  # fmt: skip
    assert [type(value) for value in odd] == [float, str] * 3


@everywhere
async def test_null_stands_for_a_price_and_for_the_message_in_turn(world: World) -> None:
    one, two = [json.loads(text_of(frame)) for frame in await spoilt(world, "null", count=2)]
    assert None in (one["p"], one["q"])
    assert two is None


@everywhere
async def test_empty_is_a_message_of_no_length(world: World) -> None:
    [frame] = await spoilt(world, "empty")
    assert text_of(frame) == ""


@everywhere
async def test_masked_frames_hold_the_right_text(world: World) -> None:
    [frame] = await spoilt(world, "masked")
    mask, masked = frame.payload[:4], frame.payload[4:]
    assert frame.second & 0x80
    text = bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked))
    assert text.decode() == TRADE


@everywhere
async def test_a_reserved_bit_is_set(world: World) -> None:
    [frame] = await spoilt(world, "reserved")
    assert (frame.first, frame.payload.decode()) == (0x40 | FIN_TEXT, TRADE)


@everywhere
async def test_a_length_of_2_gb_is_claimed(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        client = await world.ws(fake)
        fake.strike(Corrupt(0, "x@trade", how="length"))
        tell(fake, "x@trade", TRADE)
        head = await client._exactly(10)
        assert head == bytes([FIN_TEXT, 127]) + (2 << 30).to_bytes(8)
        assert (await client._exactly(len(TRADE))).decode() == TRADE


# --- messages that never end ---------------------------------------------------------------------


async def read_fragments(client: RawClient, count: int) -> None:
    first = await client.frame()
    assert (first.first, first.payload.decode()) == (TEXT, TRADE)
    for _ in range(count):
        assert (await client.frame()).first == 0


@everywhere
async def test_fragments_come_until_the_client_closes(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        client = await world.ws(fake)
        fake.strike(Corrupt(0, "x@trade", how="fragments"))
        tell(fake, "x@trade", TRADE, "unheard")
        await read_fragments(client, 20)
        assert fake.connections == []
        await client.stream.send_all(masked_frame(CLOSE, b"\x03\xf1"))
        received, _ = await client.read_to_end()
        assert received.endswith(b"\x88\x02\x03\xf1")


@everywhere
async def test_fragments_end_with_the_line(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        client = await world.ws(fake)
        fake.strike(Corrupt(0, "x@trade", how="fragments"))
        tell(fake, "x@trade", TRADE)
        await read_fragments(client, 2)
        await client.stream.aclose()
        await until(lambda: not fake._connections)


@in_memory
async def test_fragments_that_nobody_reads_stay_few(world: World) -> None:
    async with world.opened(world.binance()) as fake:
        client = await world.ws(fake)
        [connection] = fake.connections
        fake.strike(Corrupt(0, "x@trade", how="fragments"))
        tell(fake, "x@trade", TRADE)
        await trio.sleep(100)
        assert connection.queued < 1 << 18
        await wait_all_tasks_blocked()
        await read_fragments(client, 50)


# --- in general ----------------------------------------------------------------------------------


@given(st.text(), st.sampled_from(get_args(Corruption)), st.integers(0, 7))
def test_any_text_can_be_spoilt_and_the_same_way_again(
    text: str, how: Corruption, turn: int
) -> None:
    frame = text_frame(text.encode())
    assert payload_of(frame) == text.encode()
    once = corrupted(how, frame, random.Random(1), turn)
    assert corrupted(how, frame, random.Random(1), turn) == once
    if how == "empty":
        assert once == [text_frame(b"")]
    elif how != "fragments" and text:
        assert once != [frame] or how == "truncate"


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 200_000])
def test_frames_of_any_size_are_spoilt_beyond_their_head(size: int) -> None:
    frame = text_frame(b"x" * size)
    [binary] = corrupted("binary", frame, random.Random(1), 0)
    assert (binary[0], binary[1:]) == (0x82, frame[1:])
    [masked] = corrupted("masked", frame, random.Random(1), 0)
    assert len(masked) == len(frame) + 4


def test_every_way_is_shown_here() -> None:
    assert set(get_args(Corruption)) == {
        "garbage", "truncate", "gzip", "binary", "utf8", "deep", "huge", "nan", "null", "empty",
        "length", "fragments", "masked", "reserved",
    }  # fmt: skip
