"""A farm that drains while a line is between two shards: what is in no file is on record there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from farm import Gap, Trade
from farm.cluster.messages import HandOver
from farm.storage.reader import read_batches
from farm.types import GapCause
from tests.cluster.test_moves import STEPS, at_step, binance
from tests.cluster.trading import APART, UserReader, unrecorded

DELAY = 1.0
"""Seconds that a link takes: what is told in the drain crosses what comes."""

LATER = [0.0, 0.5, 1.5, 2.5]
"""How much later the drain begins, in such times."""


def stored(data: Path) -> UserReader:
    """What a reader of the files has."""
    reader = UserReader()
    for kind in (Trade, Gap):
        reader.rows += [row for batch in read_batches(data, kind) for row in batch.rows]
    return reader


def word_of(gap: Gap) -> str:
    return gap.feed.rpartition("/")[2]


@pytest.mark.parametrize("later", LATER)
@pytest.mark.parametrize("step", STEPS)
async def test_a_drain_in_a_move_loses_nothing_without_a_record(
    step: type[Any],
    later: float,
    tmp_path: Path,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a line that has left the old shard, and not come to the new one, that is said."""
    moving = binance(delay=DELAY, seconds=60.0, rate=12.0)
    async with moving.run(data=str(tmp_path / "data")), at_step(step, monkeypatch) as told:
        moving.begin(moving.lines[0])
        with trio.fail_after(30):
            await told.wait()
        await trio.sleep(later * DELAY)
        is_moved = moving.moves.made == 1
        now = moving.world.wall_clock()
        moving.farm.stop()
        await moving.farm.wait()
    kept = stored(tmp_path / "data")
    for reader in (moving.read, kept):
        lost = unrecorded(reader, moving.control_read)
        assert [trade for trade in lost if trade.receive_time < now - 2 * APART] == []
        assert reader.repeated() == {}
        gaps = reader.of(Gap)
        assert {(gap.cause, gap.edge) for gap in gaps} <= {(GapCause.CRASH, "shard")}
        assert set(reader.gaps_by_feed().values()) <= {1}
        assert {gap.symbol for gap in gaps} <= {moving.lines[0].streams()[0].symbol}
        if step is HandOver and 1 < later < 2:  # it had left the one, and was not told the other
            assert sorted(word_of(gap) for gap in gaps) == ["book", "quote", "trade"]
        elif is_moved or step is not HandOver:
            assert gaps == []
    read = [(trade.symbol, trade.id) for trade in moving.read.of(Trade)]
    assert sorted(read) == sorted((trade.symbol, trade.id) for trade in kept.of(Trade))
    assert moving.world.living == []
    assert [p.reason for p in moving.farm.stats().processes] == ["", "", ""]
