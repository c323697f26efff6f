"""The sink actor with real stores under a real supervisor; the disk fails where it is told to."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from farm.actors.losses import lose_bundles
from farm.actors.mailbox import Mailbox, Quarantined
from farm.actors.sink import SinkActor
from farm.batch import Batch
from farm.bundle import Bundle
from farm.entities import Gap, Quote, Trade
from farm.errors import RestartsExceeded
from farm.groups import leaves
from farm.storage.directory import DataDirectory, open_data_directory
from farm.storage.files import WrittenFile
from farm.storage.parquet import ParquetStore
from farm.storage.partition import Partition
from farm.storage.quarantine import QuarantineStore, quarantine_files
from farm.storage.quarantine_file import read_item
from farm.storage.reader import read_batches
from farm.storage.unparsed import UNSTORABLE, UnparsedStore
from farm.threads import in_thread
from farm.types import DataType, NumberMode
from tests.actors.lines import cut_short, supervise
from tests.effort import runs
from tests.storage.events import NOON, ORIGIN, frame, quote, trades


async def inline(work: Callable[[], Any]) -> Any:
    """Blocking work on the spot: a thread would not fit a mock clock."""
    await trio.lowlevel.checkpoint()
    return work()


class Rig:
    """A sink, its stores and its mailbox, in a data directory."""

    def __init__(self, directory: DataDirectory, **more: Any) -> None:
        self.directory = directory
        self.inbox: Mailbox[Bundle] = Mailbox(
            "aggregator>sink",
            lose=lose_bundles("aggregator>sink"),
            max_bytes=more.pop("mailbox_bytes", 10**6),
            on_quarantine=lambda kept: self.quarantine.add(kept),
        )
        sink = {"run_sync": more.pop("run_sync", inline)}
        if "max_pending_bytes" in more:
            sink["max_pending_bytes"] = more.pop("max_pending_bytes")
        self.store = FlakyStore(directory, **more)
        self.unparsed = UnparsedStore(directory, max_memory_bytes=10_000)
        self.quarantine = QuarantineStore(directory)
        self.actor = SinkActor(
            self.store, self.unparsed, self.inbox, quarantine=self.quarantine, **sink
        )
        self._serial = 0

    def put(self, *batches: Batch[Any], **more: Any) -> None:
        self._serial += 1
        self.unparsed.add(more.pop("unparsed", []))  # as the hub does
        self.inbox.put(Bundle(ORIGIN, self._serial, NOON, list(batches), nbytes=100, **more))

    async def run(self, **more: Any) -> None:
        """Run to the end of what was put in."""
        self.inbox.close()
        await supervise(self.actor, **more)

    def trades(self) -> list[int]:
        """The ordinals of all trades on the disk."""
        return [row.ordinal for batch in read_batches(self.directory.path, Trade) for row in batch]

    def quotes(self) -> list[int]:
        return [row.ordinal for batch in read_batches(self.directory.path, Quote) for row in batch]

    def gaps(self) -> list[Gap]:
        return [gap for batch in read_batches(self.directory.path, Gap) for gap in batch]

    def kept(self) -> list[dict[str, Any]]:
        """The unparsed frames on the disk."""
        paths = sorted((self.directory.path / "_unparsed").rglob("*.jsonl"))
        return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


class FlakyStore(ParquetStore):
    """A real store; `crash_on` names the calls of `add`, from 0, that crash, and `cannot_write`
    the kinds whose files do."""

    calls = 0
    crash_on: tuple[int, ...] = ()
    cannot_write: tuple[DataType, ...] = ()

    def add(self, batch: Batch[Any], now: float) -> None:
        self.calls += 1
        if self.calls - 1 in self.crash_on:
            raise ValueError("a bug")
        super().add(batch, now)

    def write(self, partition: Partition) -> WrittenFile | None:
        if partition.data_type in self.cannot_write:
            raise ZeroDivisionError(f"a bug in writing {partition.data_type.value}")
        return super().write(partition)


class Disk:
    """Fails the next `failures` writes as a full disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failures = self.failed = 0
        real = DataDirectory.write_file

        def write_file(directory: DataDirectory, target: Path, write: Any) -> int:
            if self.failures:
                self.failures -= 1
                self.failed += 1
                raise OSError(28, "No space left on device")
            return real(directory, target, write)

        monkeypatch.setattr(DataDirectory, "write_file", write_file)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DataDirectory]:
    with open_data_directory(tmp_path / "data", NumberMode.FLOAT) as directory:
        yield directory


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


# When it writes --------------------------------------------------------------------------------


async def test_at_the_end_of_the_mailbox_everything_is_written(directory: DataDirectory) -> None:
    rig = Rig(directory, run_sync=in_thread)
    for start in range(0, 30, 3):
        rig.put(trades(range(start, start + 3)), Batch.of([quote(start)]), unparsed=[frame(start)])
    await rig.run()
    assert rig.trades() == list(range(30))
    assert rig.quotes() == list(range(0, 30, 3))
    assert [line["ordinal"] for line in rig.kept()] == list(range(0, 30, 3))
    assert rig.store.rows_pending == 0


async def test_rows_are_written_when_their_time_has_come(
    directory: DataDirectory, autojump_clock: MockClock
) -> None:
    rig = Rig(directory, max_seconds=10.0)
    rig.put(trades([0]))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervise, rig.actor)
        await trio.sleep(9.9)
        rig.put(trades([1]))
        assert rig.store.files_written == 0
        await trio.sleep(0.7)
        assert rig.trades() == [0, 1]
        rig.put(trades([2]))
        await trio.sleep(9.4)
        assert rig.trades() == [0, 1]
        await trio.sleep(1.2)
        assert rig.trades() == [0, 1, 2]
        nursery.cancel_scope.cancel()


async def test_a_full_buffer_is_written_before_its_time(
    directory: DataDirectory, autojump_clock: MockClock
) -> None:
    rig = Rig(directory, max_seconds=1e6, max_rows=4)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervise, rig.actor)
        rig.put(trades(range(3)), unparsed=[frame(0, b"x" * 6_000)])
        await trio.sleep(0.6)
        assert rig.store.files_written == 0
        assert len(rig.kept()) == 1  # their memory was half full
        rig.put(trades([3]))
        await trio.sleep(0.6)
        assert rig.trades() == [0, 1, 2, 3]
        nursery.cancel_scope.cancel()


async def test_while_too_much_waits_for_the_disk_nothing_is_taken(
    directory: DataDirectory,
) -> None:
    may_write = trio.Event()

    async def slow(work: Callable[[], Any]) -> Any:
        await may_write.wait()
        return work()

    rig = Rig(directory, run_sync=slow, max_pending_bytes=300)
    async with trio.open_nursery() as nursery:
        for start in range(5):
            rig.put(trades([start]))
        nursery.start_soon(rig.run)
        await wait_all_tasks_blocked()
        assert (rig.store.rows_pending, len(rig.inbox)) == (2, 3)
        may_write.set()
    assert rig.trades() == list(range(5))


async def test_without_a_directory_frames_are_kept_in_memory() -> None:
    unparsed = UnparsedStore()
    box: Mailbox[Bundle] = Mailbox("m", lose=lose_bundles("m"), max_bytes=1000)
    unparsed.add([frame(1)])
    box.put(Bundle(ORIGIN, 1, NOON, [trades([0])]))
    box.close()
    await supervise(SinkActor(None, unparsed, box, run_sync=inline))
    assert unparsed.frames() == [frame(1)]


# Crashes and cancellation ----------------------------------------------------------------------


@pytest.mark.parametrize("call", range(6))
async def test_a_crash_between_two_batches_writes_each_row_once(
    directory: DataDirectory, call: int
) -> None:
    rig = Rig(directory)
    rig.store.crash_on = (call,)
    for number in range(3):
        rig.put(trades([number]), Batch.of([quote(number)]), unparsed=[frame(number)])
    await rig.run()
    assert rig.trades() == rig.quotes() == [0, 1, 2]
    assert [line["ordinal"] for line in rig.kept()] == [0, 1, 2]
    assert rig.gaps() == []


async def test_a_bundle_that_crashes_twice_is_a_gap_on_the_disk(directory: DataDirectory) -> None:
    rig = Rig(directory)
    rig.store.crash_on = (1, 2)
    for number in range(3):
        rig.put(trades([number, number + 10]), unparsed=[frame(number)])
    await rig.run()
    assert rig.trades() == [0, 10, 2, 12]
    (gap,) = rig.gaps()
    assert (gap.cause.value, gap.edge, gap.size) == ("quarantine", "aggregator>sink", 2)
    assert [line["ordinal"] for line in rig.kept()] == [0, 1, 2]


async def test_of_a_bundle_that_crashes_twice_what_is_stored_is_not_taken_for_lost(
    directory: DataDirectory,
) -> None:
    rig = Rig(directory)
    rig.store.crash_on = (1, 2)
    rig.put(trades([0]), Batch.of([quote(1)]), trades([2]))
    rig.put(trades([3]))
    await rig.run()
    assert (rig.trades(), rig.quotes()) == ([0, 3], [])
    assert {(gap.feed.rpartition("/")[2], gap.size) for gap in rig.gaps()} == {
        ("quote", 1),
        ("trade", 1),
    }
    (path,) = quarantine_files(directory.path)
    item = read_item(path)
    assert isinstance(item, Bundle)
    assert [[row.ordinal for row in batch] for batch in item.batches] == [[1], [2]]


async def test_a_crash_after_the_last_batch_stores_and_loses_nothing_twice(
    directory: DataDirectory,
) -> None:
    rig = Rig(directory, mailbox_bytes=150)
    calls = 0

    def on_loss(_gap: Gap) -> None:
        nonlocal calls
        calls += 1
        raise ValueError

    rig.actor._on_loss = on_loss
    for number in range(3):
        rig.put(trades([number]))
    await rig.run()
    assert calls == 1
    assert rig.trades() == [2]
    assert [gap.size for gap in rig.gaps()] == [2]


async def test_what_cannot_be_written_holds_nothing_else_up_and_is_raised_at_last(
    directory: DataDirectory,
) -> None:
    rig = Rig(directory)
    rig.store.cannot_write = (DataType.TRADE,)
    rig.put(trades([0]), Batch.of([quote(0), quote(1)]), unparsed=[frame(0)])
    rig.quarantine.add(Quarantined("m", Bundle(ORIGIN, 1, NOON, []), "a", ("one", "two")))
    with pytest.raises(ExceptionGroup) as caught:
        await rig.run(intensity=0)
    (error,) = leaves(caught.value)
    assert isinstance(error, RestartsExceeded)
    assert str(error.__cause__) == "a bug in writing trade"
    assert (rig.trades(), rig.quotes(), rig.store.rows_pending) == ([], [0, 1], 1)
    assert [line["ordinal"] for line in rig.kept()] == [0]
    assert len(quarantine_files(directory.path)) == 1


async def test_of_several_that_cannot_be_written_the_first_is_raised(
    directory: DataDirectory, disk: Disk
) -> None:
    rig = Rig(directory)
    rig.store.cannot_write = (DataType.TRADE,)
    disk.failures = 1
    rig.put(Batch.of([quote(0)]), trades([0]))
    with pytest.raises(ExceptionGroup) as caught:
        await rig.run(intensity=0)  # the disk's refusal is weather, and the next run's is not
    (error,) = leaves(caught.value)
    assert str(error.__cause__) == "a bug in writing trade"
    assert (rig.trades(), rig.quotes(), disk.failed) == ([], [0], 1)


async def test_quarantined_items_are_written_soon_and_at_the_end(
    directory: DataDirectory, autojump_clock: MockClock
) -> None:
    rig = Rig(directory)
    crashed = Quarantined("m", Bundle(ORIGIN, 1, NOON, []), "a", ("one", "two"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervise, rig.actor)
        rig.quarantine.add(crashed)
        await trio.sleep(0.6)
        assert len(quarantine_files(directory.path)) == 1
        nursery.cancel_scope.cancel()
    rig.quarantine.add(crashed)
    await rig.run()
    assert len(quarantine_files(directory.path)) == 2


async def test_cancelled_at_any_moment_it_writes_each_row_once(tmp_path: Path) -> None:
    cut = 0
    for seed in range(runs(40)):
        rng = random.Random(seed)
        with open_data_directory(tmp_path / str(seed), NumberMode.FLOAT) as directory:
            rig = Rig(directory, max_pending_bytes=rng.choice([0, 250, 10**6]))
            for number in range(4):
                rig.put(trades([number]), Batch.of([quote(number)]), unparsed=[frame(number)])
            rig.inbox.close()
            cut += await cut_short(rig.actor, rng)
            await rig.run()
            assert sorted(rig.trades()) == sorted(rig.quotes()) == list(range(4)), seed
            assert sorted(line["ordinal"] for line in rig.kept()) == list(range(4)), seed
    assert cut > 0


# The disk --------------------------------------------------------------------------------------


async def test_rows_outlast_a_failing_disk(
    directory: DataDirectory, disk: Disk, autojump_clock: MockClock
) -> None:
    rig = Rig(directory, max_seconds=5.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervise, rig.actor)
        rig.put(trades([0]), Batch.of([quote(0)]))
        disk.failures = 3
        await trio.sleep(5.1)
        assert disk.failed > 0
        rig.put(trades([1]))
        await trio.sleep(20)
        assert rig.trades() == [0, 1]
        assert rig.quotes() == [0]
        nursery.cancel_scope.cancel()
    assert rig.gaps() == []


async def test_rows_outlast_a_disk_that_fails_at_the_end(
    directory: DataDirectory, disk: Disk
) -> None:
    rig = Rig(directory)
    disk.failures = 3
    rig.put(trades([0]), Batch.of([quote(0)]), unparsed=[frame(0)])
    await rig.run()
    assert (rig.trades(), rig.quotes(), len(rig.kept())) == ([0], [0], 1)


async def test_a_disk_that_fails_under_pressure_makes_no_losses_up(
    directory: DataDirectory, disk: Disk
) -> None:
    rig = Rig(directory, max_pending_bytes=0)
    disk.failures = 4
    for number in range(3):
        rig.put(trades([number]), unparsed=[frame(number)])
    await rig.run()
    assert rig.inbox.quarantine_count == 0
    assert rig.trades() == [0, 1, 2]
    assert [line["ordinal"] for line in rig.kept()] == [0, 1, 2]


async def test_a_disk_that_is_broken_for_long_is_weather(
    directory: DataDirectory, disk: Disk, autojump_clock: MockClock
) -> None:
    rig = Rig(directory)
    disk.failures = 50
    rig.put(trades([0]))
    await rig.run(intensity=3)  # weather is no crash: it is tried until it succeeds
    assert disk.failed == 50
    assert rig.trades() == [0]


async def test_frames_that_were_not_parsed_do_not_wait_for_the_end(
    directory: DataDirectory, autojump_clock: MockClock
) -> None:
    rig = Rig(directory)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervise, rig.actor)
        rig.unparsed.add([frame(1)])
        await trio.sleep(59)
        assert rig.kept() == []
        await trio.sleep(2)
        assert [line["ordinal"] for line in rig.kept()] == [1]
        nursery.cancel_scope.cancel()


async def test_losses_before_the_sink_are_told(directory: DataDirectory) -> None:
    told: list[Gap] = []
    rig = Rig(directory, mailbox_bytes=150)
    rig.actor._on_loss = told.append
    for number in range(3):
        rig.put(trades([number]))
    await rig.run()
    assert rig.trades() == [2]
    (gap,) = rig.gaps()
    assert told == [gap]
    assert (gap.edge, gap.size) == ("aggregator>sink", 2)


async def test_an_event_that_no_file_can_hold_is_kept_beside(tmp_path: Path) -> None:
    with open_data_directory(tmp_path / "data", NumberMode.DECIMAL) as directory:
        rig = Rig(directory)
        good = trades([0, 2], price=Decimal("1.5"), quantity=Decimal(1))
        rig.put(good, trades([1], price=Decimal("1e30"), quantity=Decimal(1)))
        await rig.run()
        assert sorted(rig.trades()) == [0, 2]
        (line,) = rig.kept()
    assert (line["kind"], line["ordinal"], line["time"]) == (UNSTORABLE, 1, NOON + 1)
    event = json.loads(line["raw"])
    assert (event["symbol"], Decimal(event["price"])) == ("BTCUSDT", Decimal("1e30"))
