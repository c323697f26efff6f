"""The parser actor under a real supervisor, between real mailboxes, with a session that crashes."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from farm.actors.mailbox import Mailbox
from farm.actors.parser import ParserActor
from farm.bundle import Bundle
from farm.entities import Gap
from farm.errors import RestartsExceeded
from farm.exchanges.session import Command, Input, Session
from farm.exchanges.streams import Stream
from tests.actors.lines import (
    Crashes,
    Inputs,
    bundle_box,
    cut_short,
    input_box,
    read_all,
    rows,
    session,
    supervise,
    told,
    trade_ids,
)
from tests.effort import runs
from tests.exchanges.feeding import binance_trade


class Flaky:
    """A real session that crashes where it is told to."""

    def __init__(self, real: Session, crashes: Crashes) -> None:
        self.statuses = real.statuses
        self.unknown_values = real.unknown_values
        self.foreign = real.foreign
        self._real = real
        self._crashes = crashes

    def handle(self, item: Input) -> Bundle | None:
        bundle: Bundle | None = self._crashes.call(self._real.handle, item)
        return bundle

    def take_commands(self) -> list[Command]:
        return self._real.take_commands()

    def resync(self, stream: Stream, need: int = 0) -> None:
        self._real.resync(stream, need)


def trades(reads: int) -> Inputs:
    """So many reads of three trades each, with the ids 0, 1, 2, ..."""
    inputs = Inputs().open()
    for read in range(reads):
        inputs.read(*(binance_trade(3 * read + number) for number in range(3)))
    return inputs


def filled(inputs: Inputs) -> Mailbox[Input]:
    box = input_box()
    for item in inputs.items:
        box.put(item)
    return box


class Rig:
    """A parser between two mailboxes. As several lanes end in one mailbox of bundles, whoever
    closes that is told of the end: here it is `on_end`."""

    def __init__(
        self, inputs: Inputs, crashes: Crashes | None = None, max_items: int = 100_000
    ) -> None:
        self.inbox, self.outbox = filled(inputs), bundle_box(max_items=max_items)
        self.calls = self.ends = 0
        self.core = Flaky(session("trade"), crashes or Crashes({}))
        self.parser = ParserActor(
            "c parser", self.core, self.inbox, self.outbox, self.on_commands, self.on_end
        )

    def on_commands(self) -> None:
        self.calls += 1

    def on_end(self) -> None:
        self.ends += 1
        self.outbox.close()

    async def run(self) -> list[Bundle]:
        """Run to the end of what was put in."""
        self.inbox.close()
        await supervise(self.parser)
        assert self.ends == 1
        return await read_all(self.outbox)


async def parse(inputs: Inputs, crashes: Crashes) -> tuple[list[Bundle], Mailbox[Input]]:
    """What came out, and the mailbox it came from."""
    rig = Rig(inputs, crashes)
    return await rig.run(), rig.inbox


async def test_inputs_become_bundles_and_the_end_is_told_once() -> None:
    rig = Rig(trades(4))
    bundles = await rig.run()
    assert trade_ids(bundles) == list(range(12))
    # What came of the opening is that the streams are up.
    assert [bundle.serial for bundle in bundles] == [2, 3, 4, 5, 6]
    assert bundles[0].up == ("binance/spot/BTCUSDT/trade",)
    assert rig.calls == 6  # also after inputs that gave no bundle


async def test_the_end_is_told_when_everything_was_sent_and_not_before() -> None:
    rig = Rig(trades(4), max_items=1)
    rig.inbox.close()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervise, rig.parser)
        reader = rig.outbox.reader()
        for taken in range(5):  # the last of five has room when the fourth was taken
            await trio.testing.wait_all_tasks_blocked()
            assert rig.ends == (taken >= 4)
            await reader.next()


async def test_the_end_is_told_also_where_the_last_input_crashed_twice() -> None:
    rig = Rig(trades(2), Crashes({4: 2}))
    bundles = await rig.run()
    assert trade_ids(bundles) == [0, 1, 2]
    assert told(rows(Gap, bundles)) == [("BTCUSDT/trade", "quarantine", "parser", 3)]


@pytest.mark.parametrize("halfway", [False, True])
async def test_after_one_crash_every_event_comes_exactly_once(halfway: bool) -> None:
    bundles, inbox = await parse(trades(5), Crashes({4: 1, 6: 1}, halfway=halfway))
    assert trade_ids(bundles) == list(range(15))
    assert rows(Gap, bundles) == []
    assert inbox.quarantine_count == 0


@pytest.mark.parametrize("halfway", [False, True])
async def test_after_two_crashes_on_it_an_input_becomes_a_gap_in_its_place(halfway: bool) -> None:
    inputs = trades(5)
    bundles, inbox = await parse(inputs, Crashes({5: 2}, halfway=halfway))
    assert trade_ids(bundles) == [*range(6), *range(9, 15)]
    assert [bundle.serial for bundle in bundles] == [2, 3, 4, 5, 6, 7]
    assert told(rows(Gap, bundles[3:4])) == [("BTCUSDT/trade", "quarantine", "parser", 3)]
    assert [kept.item for kept in inbox.quarantined] == [inputs.items[4]]


async def test_too_many_crashes_escalate() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await parse(trades(5), Crashes({3: 2, 4: 2, 5: 2}))
    assert caught.group_contains(RestartsExceeded)


async def test_an_input_is_parsed_again_where_its_commands_crashed() -> None:
    rig = Rig(trades(3))
    crashes = [4]

    def on_commands() -> None:
        rig.calls += 1
        if rig.calls in crashes:
            raise ValueError

    rig.parser._on_commands = on_commands
    assert trade_ids(await rig.run()) == list(range(9))


async def test_commands_come_before_the_bundle_has_room() -> None:
    rig = Rig(trades(3), max_items=1)
    commands: list[Command] = []
    rig.parser._on_commands = lambda: commands.extend(rig.core.take_commands())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervise, rig.parser)
        await trio.testing.wait_all_tasks_blocked()
        assert len(commands) == 1
        assert (len(rig.outbox), len(rig.inbox)) == (1, 2)  # one is published, one is in hand
        nursery.cancel_scope.cancel()


async def test_what_is_on_its_way_and_what_went_before_can_be_told() -> None:
    """Cut in sending, its input is processed: the bundle is the only copy of what it gave."""
    rig = Rig(trades(3), max_items=1)
    assert (rig.parser.sending, rig.parser.last_sent) == (None, None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervise, rig.parser)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    sent, cut = rig.parser.last_sent, rig.parser.sending
    assert sent is not None
    assert cut is not None
    assert (sent.serial, cut.serial) == (2, 3)
    assert trade_ids([cut]) == [0, 1, 2]
    rig.inbox.close()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervise, rig.parser)
        bundles = await read_all(rig.outbox)
    assert rig.parser.sending is None
    assert rig.parser.last_sent is bundles[-1]
    assert trade_ids(bundles) == list(range(9))


async def test_a_parser_cancelled_at_any_moment_loses_and_doubles_nothing() -> None:
    cut = 0
    for seed in range(runs(60)):
        rng = random.Random(seed)
        rig = Rig(trades(6), max_items=2)
        rig.inbox.close()
        bundles: list[Bundle] = []

        async def read(outbox: Mailbox[Bundle], bundles: list[Bundle]) -> None:
            bundles += await read_all(outbox)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, rig.outbox, bundles)
            cut += await cut_short(rig.parser, rng)
            if not rig.ends:
                await supervise(rig.parser)
        assert rig.ends == 1
        assert trade_ids(bundles) == list(range(18)), seed
    assert cut > 0
