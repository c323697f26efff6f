"""A line whose parser and aggregator take their turns where its inputs are put."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from farm.actors.hub import Hub
from farm.actors.mailbox import Overflow
from farm.actors.supervisor import Health
from farm.bundle import Bundle
from farm.entities import Gap
from farm.exchanges.registry import rules_of
from farm.monitor.feeds import FeedCounters
from farm.pipeline.environment import Settings
from farm.pipeline.lane import Lane, SessionOptions
from farm.pipeline.line import Line, make_line
from farm.storage.quarantine import QuarantineStore
from farm.types import Exchange, Market
from tests.actors.lines import SECOND, Inputs, bundle_box, rows, told, trade_ids
from tests.exchanges.feeding import binance_trade
from tests.pipeline.repeated import TROUBLE, perform


def test_with_and_without_it_everything_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two venues on which everything goes wrong, and actors that crash: the same to the byte."""
    told = perform(TROUBLE, 0)
    made = Settings.of
    monkeypatch.setattr(Settings, "of", lambda config: attrs.evolve(made(config), hand_off=False))
    again = perform(TROUBLE, 0)
    assert again.hits == told.hits
    assert again.feeds() == told.feeds()
    assert again.merged() == told.merged()


class Rig:
    """A line of one lane, and a hub with a listener. A store with room for two is made if
    `stored`."""

    def __init__(self, *, hand_off: bool = True, stored: bool = False) -> None:
        rules = rules_of(Exchange.BINANCE, Market.SPOT)
        self.line: Line = make_line(
            "c",
            rules,
            Settings(hand_off=hand_off),
            SessionOptions(),
            Overflow.DROP_OLDEST,
            QuarantineStore(),
            [rules.streams.stream("BTCUSDT", "trade")],
        )
        self.lane: Lane = self.line.new_lane()
        self.hub = Hub(FeedCounters(), lambda _frames: None)
        self.stored = bundle_box("aggregator>sink", max_items=2)
        if stored:
            self.hub.store(self.stored)
        self.published: list[Bundle] = []
        self.hub.listen(self.published.append)
        self._inputs = Inputs().open()
        self._put = 0

    def put(self, *ids: int) -> None:
        """Reads of a trade each, behind the opening."""
        for number in ids:
            self._inputs.read(binance_trade(number))
        for item in self._inputs.items[self._put :]:
            self.lane.inputs.put(item)
        self._put = len(self._inputs.items)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Both actors, without supervision; cancelled at the end."""
        async with trio.open_nursery() as nursery:
            aggregator = self.line.aggregator(self.hub.publish)
            nursery.start_soon(aggregator.run, Health(lambda: None))
            nursery.start_soon(self.lane.parser(self.line.bundles).run, Health(lambda: None))
            await wait_all_tasks_blocked()
            yield
            nursery.cancel_scope.cancel()


async def test_what_is_put_is_published_before_put_returns() -> None:
    rig = Rig()
    async with rig.running():
        for number in range(3):
            rig.put(number)
            assert trade_ids(rig.published) == list(range(number + 1))


async def test_without_hand_off_it_takes_its_turn_like_everything() -> None:
    rig = Rig(hand_off=False)
    async with rig.running():
        rig.put(0)
        assert rig.published == []
        await wait_all_tasks_blocked()
        assert trade_ids(rig.published) == [0]


async def test_where_a_store_has_no_room_the_rest_waits_and_nobody_else_has_it_yet() -> None:
    rig = Rig(stored=True)
    async with rig.running():
        rig.put(0, 1, 2, 3)
        assert trade_ids(rig.published) == [0]  # behind what told that the streams are up
        assert rig.line.in_hand is not None
        assert trade_ids([rig.line.in_hand]) == [1]
        assert len(rig.line.bundles) == 2
        reader = rig.stored.reader()
        stored = []
        for _ in range(5):
            await wait_all_tasks_blocked()
            stored.append(await reader.next())
        await wait_all_tasks_blocked()
        assert trade_ids(stored) == trade_ids(rig.published) == [0, 1, 2, 3]
        assert rig.line.in_hand is None
        rig.put(4)  # both wait again, and there is room
        assert trade_ids(rig.published) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("settled", [False, True])
async def test_cut_while_a_store_has_no_room_all_is_published_or_told_of(settled: bool) -> None:
    """Cancelled when the turn was just over, or in waiting: what was in hand is processed."""
    rig = Rig(stored=True)
    async with rig.running():
        rig.put(0, 1, 2, 3)
        if settled:
            await wait_all_tasks_blocked()
    assert rig.line.in_hand is not None
    rig.stored.drain()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            async for _ in rig.stored.reader():
                pass

        await rig.line.publish_rest(rig.hub.publish, lambda: 9 * SECOND)
        rig.stored.close()
    assert trade_ids(rig.published) == [0, 1]
    assert told(rows(Gap, rig.published)) == [("BTCUSDT/trade", "overflow", "parser>aggregator", 2)]


@pytest.mark.parametrize("cut_before", [False, True])
async def test_what_a_reader_crashes_on_is_not_in_hand_for_it_comes_again(cut_before: bool) -> None:
    rig = Rig(stored=cut_before)
    if cut_before:
        async with rig.running():
            rig.put(0, 1)
        rig.stored.drain()
        assert rig.line.in_hand is not None

    def crash(_bundle: Bundle) -> None:
        raise ValueError("a bug")

    rig.hub.listen(crash)
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="a bug")):
        async with rig.running():
            rig.put(2)
            assert len(rig.line.bundles) > 0  # the sender goes on
            await trio.sleep_forever()
    assert rig.line.in_hand is None
    assert rig.line.bundles.reader().redelivers
