"""A parent that is killed leaves no shard behind, and whole files with all that its readers had."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pyarrow.parquet as pq
import pytest
import trio

from farm.storage.directory import open_data_directory
from farm.types import NumberMode
from tests.cluster.farms import (
    MARKETS,
    SYMBOLS,
    TellingFake,
    config_of,
    open_fakes,
    see_accounted,
    stored,
)
from tests.effort import runs
from tests.farms import until

PARENT = """
import json, socket, sys, trio
from farm import Trade, open_farm
from farm.entities import feed_of

make_pair = socket.socketpair
def narrow_pair():  # little is on its way from one process to the other
    pair = make_pair()
    for end in pair:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return pair
socket.socketpair = narrow_pair

async def main():
    async with open_farm(json.loads(sys.argv[1])) as farm:
        print(*(process.pid for process in farm.stats().processes[1:]), flush=True)
        async with farm.subscribe(Trade) as batches:
            async for batch in batches:
                for trade in batch.rows:
                    print(feed_of(trade), trade.id, flush=True)

trio.run(main)
"""


@attrs.define
class Parent:
    """A farm in a process of its own: its shards, and the trades of each feed that it has read."""

    process: trio.Process
    pids: list[int] = attrs.field(factory=list)
    trades: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    ended: trio.Event = attrs.field(factory=trio.Event)

    async def listen(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Until it says nothing any more."""
        assert self.process.stdout is not None
        text = ""
        async for data in self.process.stdout:
            *lines, text = (text + data.decode()).split("\n")
            for line in lines:
                if self.pids:
                    feed, trade = line.split()
                    self.trades[feed, trade] += 1
                else:
                    self.pids = list(map(int, line.split()))
                    task_status.started()
        self.ended.set()

    def has_read_of_all(self, count: int) -> bool:
        by_feed = Counter(feed for feed, _ in self.trades)
        return all(by_feed[f"{n}/{symbol}/trade"] >= count for n in MARKETS for symbol in SYMBOLS)


@asynccontextmanager
async def open_parent(config: dict[str, Any]) -> AsyncIterator[Parent]:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", PARENT, json.dumps(config)], stdout=subprocess.PIPE
    )
    try:
        async with trio.open_nursery() as nursery:
            parent = Parent(process)
            await nursery.start(parent.listen)
            yield parent
    finally:
        process.kill()
        assert process.stdout is not None
        await process.stdout.aclose()
        await process.wait()


def is_alive(pid: int) -> bool:
    """Whether a process runs; who has ended and was not reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def see_whole(data: Path) -> None:
    """Every file can be read, and when somebody opens the directory nothing of the dead is left."""
    for path in data.rglob("*.parquet"):
        pq.read_table(path, partitioning=None)
    open_data_directory(data, NumberMode.FLOAT).close()
    assert [path.name for path in (data / "_runs").iterdir()] == ["lock"]
    assert not list(data.rglob("*.tmp"))


async def gone(pids: list[int]) -> None:
    """Wait until none of these runs: they have two seconds, where each has a core."""
    with trio.fail_after(10.0):
        while any(map(is_alive, pids)):  # noqa: ASYNC110 (nobody signals it)
            await trio.sleep(0.01)


@pytest.mark.parametrize("stands_still", [False, True])
async def test_no_shard_outlives_it_and_what_was_received_is_on_disk(
    tmp_path: Path, *, stands_still: bool
) -> None:
    """Also when shards have much to tell that it does not read."""
    for run in range(runs(1)):
        data = tmp_path / str(run)
        async with (
            open_fakes(rate=1000.0) as fakes,
            open_parent(config_of(fakes, data=str(data))) as parent,
        ):
            await until(lambda parent=parent: parent.has_read_of_all(3))  # type: ignore[misc]
            assert all(map(is_alive, parent.pids))
            received = set()
            if stands_still:
                before = told_by(fakes)
                parent.process.send_signal(signal.SIGSTOP)
                await more_told(fakes)
                received = told_by(fakes) - before
                await more_told(fakes)
            parent.process.kill()
            await parent.ended.wait()
            await gone(parent.pids)
        see_whole(data)
        rows, gaps = stored(data)
        assert not gaps
        see_accounted(fakes, rows, gaps)
        on_disk = {(feed, trade.id) for feed in rows for trade in rows[feed]}
        assert received | set(parent.trades) <= on_disk


async def more_told(fakes: dict[str, TellingFake]) -> None:
    """Wait until there was more trading, so that what was told before has arrived."""
    before = len(told_by(fakes))
    await until(lambda: len(told_by(fakes)) > before + 400)


def told_by(fakes: dict[str, TellingFake]) -> set[tuple[str, str]]:
    """Feeds and ids of the trades."""
    return {
        (f"{name}/{symbol}/trade", trade)
        for name, fake in fakes.items()
        for symbol, told in fake.told.items()
        for trade in told
    }
