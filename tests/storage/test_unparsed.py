from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from farm.bundle import UnparsedFrame
from farm.storage import unparsed
from farm.storage.directory import DataDirectory, open_data_directory
from farm.storage.unparsed import OTHER_KINDS, UnparsedStore
from farm.types import Exchange, Market, NumberMode
from tests.storage.events import NOON, ORIGIN, frame

BYBIT = attrs.evolve(ORIGIN, exchange=Exchange.BYBIT, market=Market.LINEAR)


@pytest.fixture
def directory(tmp_path: Path) -> Any:
    with open_data_directory(tmp_path / "data", NumberMode.FLOAT) as directory:
        yield directory


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def test_frames_are_counted_by_market_and_kind() -> None:
    store = UnparsedStore()
    store.add([frame(), frame(), frame(kind="tickers")])
    store.add([frame(kind="tickers", origin=BYBIT), frame(origin=BYBIT)])
    assert store.counts == {
        ("binance/spot", "malformed"): 2,
        ("binance/spot", "tickers"): 1,
        ("bybit/linear", "tickers"): 1,
        ("bybit/linear", "malformed"): 1,
    }
    assert store.malformed == 3


def test_kinds_beyond_the_bound_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unparsed, "_MAX_KINDS", 2)
    store = UnparsedStore()
    store.add(frame(kind=kind) for kind in "abcda")
    store.add([frame()])
    assert store.counts == {
        ("binance/spot", "a"): 2,
        ("binance/spot", "b"): 1,
        ("binance/spot", OTHER_KINDS): 2,
        ("binance/spot", "malformed"): 1,
    }


def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    store = UnparsedStore(max_memory_bytes=4_000)
    frames = [frame(i, b"x" * 700) for i in range(7)]
    store.add(frames)
    assert store.frames() == frames[3:]
    assert store.not_kept == 3
    assert store.counts.total() == 7
    store.add([frame(8, b"x" * 4_000)])
    assert store.frames() == []
    assert store.not_kept == 8
    assert store.write() == []
    assert not store.due


def test_frames_are_written_by_market(directory: DataDirectory) -> None:
    store = UnparsedStore(directory)
    text = 'a "quoted"\n币\u2028'
    store.add([frame(1, text.encode(), kind="odd"), frame(2, b"\xff\x00{"), frame(3, origin=BYBIT)])
    first, second = store.write()
    assert first.path.parent == directory.path / "_unparsed" / "binance-spot"
    assert first.path.name.startswith("20240808T120000000000001Z-")
    assert first.path.suffix == ".jsonl"
    assert (first.rows, first.bytes) == (2, first.path.stat().st_size)
    assert second.path.parent == directory.path / "_unparsed" / "bybit-linear"
    plain, binary = lines(first.path)
    assert plain == {
        "exchange": "binance",
        "market": "spot",
        "connection": "c",
        "epoch": 1,
        "time": NOON + 1,
        "ordinal": 1,
        "kind": "odd",
        "reason": "why",
        "encoding": "utf-8",
        "raw": text,
    }
    assert binary["encoding"] == "base64"
    assert base64.b64decode(binary["raw"]) == b"\xff\x00{"
    assert store.frames() == []
    assert store.frames_written == 3
    assert store.write() == []


def test_a_text_that_is_no_unicode_is_written_escaped(directory: DataDirectory) -> None:
    store = UnparsedStore(directory)
    store.add([frame(kind="\ud800", reason="bad \udfff")])
    (file,) = store.write()
    (line,) = lines(file.path)
    assert (line["kind"], line["reason"]) == ("\\ud800", "bad \\udfff")


def test_due_at_half_of_the_memory(directory: DataDirectory) -> None:
    store = UnparsedStore(directory, max_memory_bytes=4_000)
    store.add([frame(0, b"x" * 1_000)])
    assert not store.due
    store.add([frame(1, b"x" * 1_000)])
    assert store.due
    store.write()
    assert not store.due
    assert store.not_kept == 0


def test_a_failed_write_keeps_what_no_file_holds(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = UnparsedStore(directory)
    late = frame(9)
    store.add([frame(1), frame(2, origin=BYBIT), frame(3), frame(4, origin=BYBIT)])
    write = unparsed._write

    def second_fails(directory: DataDirectory, market: str, frames: list[UnparsedFrame]) -> Any:
        if market == "bybit-linear":
            store.add([late])
            raise OSError(28, "disk full")
        return write(directory, market, frames)

    with monkeypatch.context() as patch:
        patch.setattr(unparsed, "_write", second_fails)
        with pytest.raises(OSError, match="disk full"):
            store.write()
    assert [each.ordinal for each in store.frames()] == [2, 4, 9]
    assert store.frames_written == 2
    assert {file.rows for file in store.write()} == {1, 2}
    assert (store.frames_written, store.not_kept) == (5, 0)
    written = sorted((directory.path / "_unparsed").rglob("*.jsonl"))
    ordinals = sorted(line["ordinal"] for file in written for line in lines(file))
    assert ordinals == [1, 2, 3, 4, 9]


def test_a_failed_write_still_bounds_the_memory(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = UnparsedStore(directory, max_memory_bytes=2_000)
    store.add([frame(1, b"x" * 700)])

    def fails(*_args: Any) -> None:
        store.add([frame(2, b"x" * 700), frame(3, b"x" * 100)])
        raise OSError(28, "disk full")

    monkeypatch.setattr(unparsed, "_write", fails)
    with pytest.raises(OSError, match="disk full"):
        store.write()
    assert [each.ordinal for each in store.frames()] == [2, 3]
    assert store.not_kept == 1
