"""Writing that is cut short anywhere: given up by who asked for it, or ended by an error.

Nothing here waits for Trio; so a cancellation reaches these rooms as a thread that nobody waits for
any more, or as an exception between two files.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import pytest
import trio

from farm.actors.mailbox import Quarantined
from farm.batch import Batch
from farm.bundle import Bundle
from farm.entities import Quote, Trade
from farm.storage.directory import DataDirectory, open_data_directory
from farm.storage.quarantine import QuarantineStore, quarantine_files
from farm.storage.reader import read_batches
from farm.storage.requeue import replay_file
from farm.storage.unparsed import UnparsedStore, unparsed_files
from farm.threads import in_thread
from farm.types import Exchange, Market, NumberMode
from tests.storage.events import NOON, ORIGIN, frame, quote, trades

DEADLINE = 30.0  # until something that must happen is given up
ITEMS = 3


class Halted:
    """Has the writing of one of the files wait, the first of which is 0."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.calls = 0
        real = DataDirectory.write_file

        def write_file(directory: DataDirectory, target: Path, write: Any) -> int:
            self.calls += 1
            if self.calls - 1 == at:
                write = self._halting(write)
            return real(directory, target, write)

        monkeypatch.setattr(DataDirectory, "write_file", write_file)

    def _halting(self, write: Callable[[IO[bytes]], object]) -> Callable[[IO[bytes]], object]:
        def halt(file: IO[bytes]) -> None:
            self.reached.set()
            self.go_on.wait(DEADLINE)
            write(file)

        return halt

    async def give_up(self, work: Callable[[], Any]) -> None:
        """Start `work` in a thread, and wait for it no more when it halts."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_thread, work)
            assert await in_thread(lambda: self.reached.wait(DEADLINE))
            nursery.cancel_scope.cancel()


class Ended:
    """Some work, and whether it has ended."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.event = threading.Event()
        self._work = work

    def __call__(self) -> Any:
        try:
            return self._work()
        finally:
            self.event.set()

    async def wait(self) -> None:
        assert await in_thread(lambda: self.event.wait(DEADLINE))


def crashed(number: int) -> Quarantined[Any]:
    bundle = Bundle(ORIGIN, number, NOON + number, [trades([number])])
    return Quarantined("m", bundle, "a", ("one", "two"))


class Quarantine:
    """A store of quarantined items, and what it has put on the disk."""

    def __init__(self, directory: DataDirectory) -> None:
        self.store = QuarantineStore(directory)
        for number in range(ITEMS):
            self.store.add(crashed(number))

    def in_memory(self) -> list[int]:
        return [kept.item.serial for kept in self.store.items()]

    @staticmethod
    def on_disk(path: Path) -> list[int]:
        lines = [file.read_text().splitlines() for file in quarantine_files(path)]
        assert all(len(own) == 3 for own in lines)
        return [json.loads(own[0])["serial"] for own in lines]


class Unparsed:
    """The same of frames that were not parsed: a file for each market."""

    def __init__(self, directory: DataDirectory) -> None:
        self.store = UnparsedStore(directory)
        for number, market in enumerate((Market.SPOT, Market.LINEAR, Market.INVERSE)):
            origin = ORIGIN.__class__(Exchange.BYBIT, market, "c", 1)
            self.store.add([frame(number, origin=origin)])

    def in_memory(self) -> list[int]:
        return [kept.ordinal for kept in self.store.frames()]

    @staticmethod
    def on_disk(path: Path) -> list[int]:
        texts = [file.read_text() for file in unparsed_files(path)]
        assert all(text.endswith("\n") for text in texts)
        return [json.loads(line)["ordinal"] for text in texts for line in text.splitlines()]


@pytest.mark.parametrize("at", range(ITEMS))
@pytest.mark.parametrize("kind", [Quarantine, Unparsed])
async def test_a_write_given_up_and_asked_for_again_keeps_each_once(
    kind: type[Quarantine | Unparsed], at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halted = Halted(monkeypatch, at)
    with open_data_directory(tmp_path, NumberMode.FLOAT) as directory:
        kept = kind(directory)
        await halted.give_up(kept.store.write)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_thread, kept.store.write)  # waits for the other
            halted.go_on.set()
        assert kept.in_memory() == []
    assert sorted(kind.on_disk(tmp_path)) == list(range(ITEMS))


@pytest.mark.parametrize("at", range(ITEMS))
@pytest.mark.parametrize("kind", [Quarantine, Unparsed])
async def test_a_write_given_up_as_the_directory_closes_leaves_the_rest_in_memory(
    kind: type[Quarantine | Unparsed], at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halted = Halted(monkeypatch, at)
    with open_data_directory(tmp_path, NumberMode.FLOAT) as directory:
        kept = kind(directory)
        work = Ended(kept.store.write)
        await halted.give_up(work)
    halted.go_on.set()
    await work.wait()
    assert sorted(kind.on_disk(tmp_path)) == list(range(at))
    assert kept.in_memory() == list(range(at, ITEMS))


async def test_what_is_being_written_is_due_until_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks at the end of a run must not take it for done while a thread is at it."""
    halted = Halted(monkeypatch, ITEMS - 1)
    with open_data_directory(tmp_path, NumberMode.FLOAT) as directory:
        kept = Quarantine(directory)
        work = Ended(kept.store.write)
        await halted.give_up(work)
        assert kept.store.due
        halted.go_on.set()
        await work.wait()
        assert not kept.store.due


# Replay -------------------------------------------------------------------------------------------


class Interrupted:
    """Ends the writing of one file by an error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException) -> None:
        self.calls = 0
        real = DataDirectory.write_file

        def write_file(directory: DataDirectory, target: Path, write: Any) -> int:
            self.calls += 1
            if self.calls - 1 == at:
                raise error
            return real(directory, target, write)

        monkeypatch.setattr(DataDirectory, "write_file", write_file)


def stored(path: Path) -> list[int]:
    kinds: Iterable[type[Any]] = (Trade, Quote)
    return [row.ordinal for kind in kinds for batch in read_batches(path, kind) for row in batch]


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_a_replay_cut_short_at_any_file_stores_nothing_twice(
    at: int, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle(
        ORIGIN, 1, NOON, [trades([0]), Batch.of([quote(1)]), trades([2], symbol="ETHUSDT")]
    )
    with open_data_directory(tmp_path, NumberMode.FLOAT) as directory:
        store = QuarantineStore(directory)
        store.add(Quarantined("aggregator>sink", bundle, "sink", ("one", "two")))
        (file,) = store.write()
        with monkeypatch.context() as patch:
            Interrupted(patch, at, error)
            with pytest.raises(type(error)):
                replay_file(file.path, directory)
        assert stored(tmp_path) == []
        assert quarantine_files(tmp_path) == [file.path]
        assert replay_file(file.path, directory).rows == 3
    assert sorted(stored(tmp_path)) == [0, 1, 2]
    assert quarantine_files(tmp_path) == []


def test_a_replayed_item_that_cannot_be_moved_away_is_not_stored(tmp_path: Path) -> None:
    with open_data_directory(tmp_path, NumberMode.FLOAT) as directory:
        kept = Quarantine(directory)
        kept.store.write()
        first, *_ = quarantine_files(tmp_path)
        in_the_way = first.parent.parent / "_replayed"
        in_the_way.touch()
        with pytest.raises(OSError, match="exists"):
            replay_file(first, directory)
        assert stored(tmp_path) == []
        in_the_way.unlink()
        assert replay_file(first, directory).rows == 1
    assert stored(tmp_path) == [0]


async def test_a_replay_given_up_is_done_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_data_directory(tmp_path, NumberMode.FLOAT) as directory:
        kept = Quarantine(directory)
        kept.store.write()
        first, *_ = quarantine_files(tmp_path)
        halted = Halted(monkeypatch, 0)
        work = Ended(lambda: replay_file(first, directory))
        await halted.give_up(work)
        assert first.exists()
        halted.go_on.set()
        await work.wait()
    assert not first.exists()
    assert stored(tmp_path) == [0]
