"""The same seed gives the same events, to the byte, in whatever order Trio runs the tasks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from farm import Exchange, Market
from farm.api.farm import open_replay
from farm.pipeline import Environment, Settings
from farm.testing import FarmWorld, FaultScript, MarketSimulator
from farm.testing.chaos.scheduling import seeded_scheduling
from farm.testing.source import reply_symbol
from farm.testing.world import run_in_place
from tests.effort import runs
from tests.pipeline.repeated import TROUBLE, Told, perform, stored

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def first() -> Told:
    """What one run told."""
    return perform(TROUBLE, 0)


def test_everything_goes_wrong_in_it(first: Told) -> None:
    """What is compared below is worth it: all faults struck, and every feed has events."""
    scripts = [FaultScript.parse(venue.script) for venue in TROUBLE.venues]
    planned = {fault.word for script in scripts for fault in script}
    assert {word for _, word, _, _ in first.hits} == planned
    feeds = first.feeds()
    kinds = {feed.split("/")[3].split(":")[0] for feed in feeds}
    assert kinds >= {"trade", "agg_trade", "quote", "book", "kline", "mark_price", "open_interest"}
    assert kinds >= {"ticker", "liquidation", "instrument", "spent_ids"}
    texts = [text for lines in feeds.values() for text in lines]
    causes = ("disconnect", "sequence_break", "quarantine", "crash")
    assert all(any(f'"cause":"{cause}"'.encode() in text for text in texts) for cause in causes)
    lanes = {(line.place[1], line.place[2]) for line in first.lines}
    assert {connection for connection, epoch in lanes if epoch > 1} >= {"binance/usdm#2~2"}


@pytest.mark.parametrize("scheduling", range(1, 1 + runs(4)))
def test_the_order_of_tasks_changes_nothing(scheduling: int, first: Told) -> None:
    again = perform(TROUBLE, scheduling)
    assert again.hits == first.hits
    assert again.feeds() == first.feeds()
    assert again.merged() == first.merged()


def test_another_seed_is_another_story(first: Told) -> None:
    assert perform(TROUBLE, 0, seed=8).feeds() != first.feeds()


def test_nor_does_the_order_of_sets(first: Told) -> None:
    """Each process has another order, by how texts are hashed in it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.pipeline.repeated"],
        env={**os.environ, "PYTHONHASHSEED": "random"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == first.digest()


def test_what_is_stored_is_the_same(first: Told, tmp_path: Path) -> None:
    told = perform(TROUBLE, 1, data=tmp_path)
    assert told.merged() == first.merged()
    assert stored(tmp_path) == first.merged()


# A recording -------------------------------------------------------------------------------------


def record(path: Path) -> None:
    """A log of one connection to Binance spot, with its snapshots, and a hole and a bad frame."""
    source = MarketSimulator(
        Exchange.BINANCE, Market.SPOT, ["BTCUSDT"], seed=5, seconds=20.0, levels=60
    )
    lines = []
    for number, push in enumerate(source):
        wanted = push.stream.endswith(("@trade", "@depth@100ms", "@bookTicker"))
        if reply_symbol(push.stream) is not None:
            lines.append(f"{push.time} {push.text}")
        elif wanted and not push.silent and number % 300:
            text = push.text if number % 700 else push.text[:-5]
            lines.append(f'{push.time} {{"stream":"{push.stream}","data":{text}}}')
    path.write_text("\n".join(lines) + "\n")


async def play(path: Path, data: Path, world: FarmWorld) -> None:
    market = (Exchange.BINANCE, Market.SPOT)
    environment = Environment(world.wall_clock, run_in_place, seed=world.seed)
    settings = Settings(data=data)
    async with open_replay(path, settings, market=market, environment=environment) as farm:
        await farm.wait()


def test_a_recording_says_the_same_each_time(tmp_path: Path) -> None:
    path = tmp_path / "binance.log"
    record(path)
    said = []
    for number in range(1 + runs(3)):
        data = tmp_path / str(number)
        with seeded_scheduling(number):
            trio.run(play, path, data, FarmWorld(number))
        said.append(stored(data))
    assert {line.place[5] for line in said[0]} == {"trade", "quote", "book", "gap"}
    assert len(said[0]) > 500
    assert all(lines == said[0] for lines in said)
