"""Quarantined items: in memory, and whole on the disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from farm.actors.mailbox import Quarantined
from farm.batch import Origin
from farm.bundle import Bundle
from farm.exchanges.session import Frames, Opened
from farm.storage.directory import DataDirectory, open_data_directory
from farm.storage.quarantine import QuarantineStore, quarantine_files
from farm.storage.quarantine_file import read_header, read_item
from farm.types import Exchange, Market, NumberMode
from tests.storage.events import NOON, ORIGIN, frame, trades

LANE = Origin(Exchange.BYBIT, Market.LINEAR, "lane~2", 0)
FRAMES = Frames(7, NOON, 40, [b'{"a":1}', b"\xff\x00"], 11, serial=5)
TRACES = ("Traceback 1\nValueError: one\n", "Traceback 2\nKeyError: 'two'\n")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DataDirectory]:
    with open_data_directory(tmp_path / "data", NumberMode.FLOAT) as directory:
        yield directory


def crashed(item: Any, mailbox: str = "lane~2 connection>parser") -> Quarantined[Any]:
    return Quarantined(mailbox, item, "lane~2 parser", TRACES)


def bundle(serial: int = 1, **more: Any) -> Bundle:
    return Bundle(ORIGIN, serial, NOON + serial, [trades([serial])], nbytes=50, **more)


def test_items_are_counted_by_market_and_mailbox() -> None:
    store = QuarantineStore()
    store.add(crashed(FRAMES), LANE)
    store.add(crashed(FRAMES), LANE)
    store.add(crashed(bundle(), "aggregator>sink"))
    assert store.counts == {
        ("bybit/linear", "lane~2 connection>parser"): 2,
        ("binance/spot", "aggregator>sink"): 1,
    }
    assert [kept.time for kept in store.items()] == [NOON, NOON, NOON + 1]
    assert not store.due
    assert store.write() == []


def test_an_input_without_an_origin_is_an_error() -> None:
    with pytest.raises(TypeError, match="needs the origin"):
        QuarantineStore().add(crashed(FRAMES))


def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    store = QuarantineStore(max_memory_bytes=4_000)
    for serial in range(6):
        store.add(crashed(bundle(serial)))
    assert [kept.item.serial for kept in store.items()] == [3, 4, 5]
    assert (store.not_kept, store.counts.total()) == (3, 6)


def test_an_input_stands_whole_in_a_file_of_its_own(directory: DataDirectory) -> None:
    store = QuarantineStore(directory)
    store.add(crashed(FRAMES), LANE, microseconds=True)
    assert store.due
    (file,) = store.write()
    assert not store.due
    assert file.path.parent == directory.path / "_quarantine" / "bybit-linear"
    assert file.path.name.startswith("20240808T120000000000000Z-")
    assert (file.rows, file.bytes) == (1, file.path.stat().st_size)
    header, fields, text, binary = map(json.loads, file.path.read_text().splitlines())
    assert header.pop("farm")
    assert header == {
        "format": 1,
        "time": NOON,
        "mailbox": "lane~2 connection>parser",
        "actor": "lane~2 parser",
        "exchange": "bybit",
        "market": "linear",
        "connection": "lane~2",
        "epoch": 7,
        "serial": 5,
        "what": "Frames",
        "numbers": "float",
        "microseconds": True,
        "parts": 2,
        "error": "KeyError: 'two'",
        "tracebacks": list(TRACES),
    }
    assert fields == {"epoch": 7, "time": NOON, "first_ordinal": 40, "nbytes": 11, "serial": 5}
    assert text == {"encoding": "utf-8", "raw": '{"a":1}'}
    assert binary == {"encoding": "base64", "raw": "/wA="}
    assert read_item(file.path) == FRAMES
    assert (store.items(), store.items_written) == ([], 1)


def test_a_bundle_stands_whole_but_for_its_unparsed_frames(directory: DataDirectory) -> None:
    store = QuarantineStore(directory)
    given = bundle(
        3,
        unparsed=[frame(1)],
        ended="gone \ud800",
        up=("a", "b"),
        down=frozenset({"d", "c"}),
        asked=("e",),
        dropped=("f",),
        final=True,
    )
    store.add(crashed(given, "aggregator>sink"))
    (file,) = store.write()
    header = read_header(file.path)
    assert (header.what, header.origin, header.serial) == ("Bundle", ORIGIN, 3)
    item = read_item(file.path)
    assert isinstance(item, Bundle)
    expected = attrs.asdict(attrs.evolve(given, unparsed=[], ended="gone \\ud800"), recurse=False)
    assert attrs.asdict(item, recurse=False) == expected


def test_a_bundle_of_exact_numbers_keeps_their_text(tmp_path: Path) -> None:
    rows = trades([1], price=Decimal("1.500"), quantity=Decimal("1e-30"))
    with open_data_directory(tmp_path, NumberMode.DECIMAL) as directory:
        store = QuarantineStore(directory)
        store.add(crashed(Bundle(ORIGIN, 1, NOON, [rows])))
        (file,) = store.write()
    item = read_item(file.path)
    assert isinstance(item, Bundle)
    (row,) = item.batches[0]
    assert (str(row.price), str(row.quantity)) == ("1.500", "1E-30")
    assert read_header(file.path).numbers is NumberMode.DECIMAL


def test_what_no_file_can_hold_is_described_and_holds_nobody_up(directory: DataDirectory) -> None:
    store = QuarantineStore(directory)
    broken = trades([1], exchange_time=2**70)
    store.add(crashed(Bundle(ORIGIN, 1, NOON, [broken])))
    store.add(crashed(bundle(2)))
    first, second = store.write()
    assert str(2**70) in first.path.read_text()
    assert read_header(first.path).serial == 1
    assert isinstance(read_item(second.path), Bundle)


def test_a_failed_write_keeps_what_no_file_holds(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = QuarantineStore(directory)
    for serial in range(3):
        store.add(crashed(bundle(serial)))
    real = DataDirectory.write_file
    calls: list[Path] = []

    def write_file(directory: DataDirectory, target: Path, write: Any) -> int:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(directory, target, write)

    monkeypatch.setattr(DataDirectory, "write_file", write_file)
    with pytest.raises(OSError, match="No space"):
        store.write()
    assert [kept.item.serial for kept in store.items()] == [1, 2]
    assert store.items_written == 1
    store.add(crashed(bundle(3)))
    assert len(store.write()) == 3
    serials = [read_header(path).serial for path in quarantine_files(directory.path)]
    assert serials == [0, 1, 2, 3]


def test_files_that_were_replayed_are_no_longer_listed(directory: DataDirectory) -> None:
    store = QuarantineStore(directory)
    store.add(crashed(Opened(1, NOON, 0.0, serial=1)), LANE)
    (file,) = store.write()
    assert quarantine_files(directory.path) == [file.path]
    moved = directory.path / "_quarantine" / "_replayed" / "bybit-linear"
    moved.mkdir(parents=True)
    file.path.rename(moved / file.path.name)
    assert quarantine_files(directory.path) == []
