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
        self._real = real
        self._crashes = crashes

    def handle(self, item: Input) -> Bundle | None:
        bundle: Bundle | None = self._crashes.call(self._real.handle, item)
        return bundle

    def take_commands(self) -> list[Command]:
        return self._real.take_commands()

    def resync(self, stream: Stream) -> None:
        self._real.resync(stream)


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


async def parse(inputs: Inputs, crashes: Crashes) -> tuple[list[Bundle], Mailbox[Input], int]:
    """What came out, the mailbox it came from, and how often commands were called for."""
    inbox, outbox = filled(inputs), bundle_box()
    inbox.close()
    flaky = Flaky(session("trade"), crashes)
    calls = 0

    def on_commands() -> None:
        nonlocal calls
        calls += 1

    await supervise(ParserActor("c parser", flaky, inbox, outbox, on_commands))
    return await read_all(outbox), inbox, calls


async def test_inputs_become_bundles_and_the_end_is_passed_on() -> None:
    bundles, _, calls = await parse(trades(4), Crashes({}))
    assert trade_ids(bundles) == list(range(12))
    assert [bundle.serial for bundle in bundles] == [3, 4, 5, 6]
    assert calls == 6  # also after inputs that gave no bundle


@pytest.mark.parametrize("halfway", [False, True])
async def test_after_one_crash_every_event_comes_exactly_once(halfway: bool) -> None:
    bundles, inbox, _ = await parse(trades(5), Crashes({4: 1, 6: 1}, halfway=halfway))
    assert trade_ids(bundles) == list(range(15))
    assert rows(Gap, bundles) == []
    assert inbox.quarantined == []


@pytest.mark.parametrize("halfway", [False, True])
async def test_after_two_crashes_on_it_an_input_becomes_a_gap_in_its_place(halfway: bool) -> None:
    inputs = trades(5)
    bundles, inbox, _ = await parse(inputs, Crashes({5: 2}, halfway=halfway))
    assert trade_ids(bundles) == [*range(6), *range(9, 15)]
    assert [bundle.serial for bundle in bundles] == [3, 4, 5, 6, 7]
    assert told(rows(Gap, bundles[2:3])) == [("BTCUSDT/trade", "quarantine", "parser", 3)]
    assert [kept.item for kept in inbox.quarantined] == [inputs.items[4]]


async def test_too_many_crashes_escalate() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await parse(trades(5), Crashes({3: 2, 4: 2, 5: 2}))
    assert caught.group_contains(RestartsExceeded)


async def test_an_input_is_parsed_again_where_its_commands_crashed() -> None:
    inbox, outbox = filled(trades(3)), bundle_box()
    inbox.close()
    crashes = [4]
    calls = 0

    def on_commands() -> None:
        nonlocal calls
        calls += 1
        if calls in crashes:
            raise ValueError

    await supervise(ParserActor("c parser", session("trade"), inbox, outbox, on_commands))
    assert trade_ids(await read_all(outbox)) == list(range(9))


async def test_commands_come_before_the_bundle_has_room() -> None:
    inbox, outbox = filled(trades(3)), bundle_box(max_items=1)
    core = session("trade")
    commands: list[Command] = []
    parser = ParserActor(
        "c parser", core, inbox, outbox, lambda: commands.extend(core.take_commands())
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervise, parser)
        await trio.testing.wait_all_tasks_blocked()
        assert len(commands) == 1
        assert (len(outbox), len(inbox)) == (1, 1)  # one is published, one is in hand
        nursery.cancel_scope.cancel()


async def test_a_parser_cancelled_at_any_moment_loses_and_doubles_nothing() -> None:
    cut = 0
    for seed in range(runs(60)):
        rng = random.Random(seed)
        inbox, outbox = filled(trades(6)), bundle_box(max_items=2)
        inbox.close()
        parser = ParserActor("c parser", session("trade"), inbox, outbox, lambda: None)
        bundles: list[Bundle] = []

        async def read(outbox: Mailbox[Bundle], bundles: list[Bundle]) -> None:
            bundles += await read_all(outbox)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, outbox, bundles)
            cut += await cut_short(parser, rng)
            if not outbox._closed:
                await supervise(parser)
        assert trade_ids(bundles) == list(range(18)), seed
    assert cut > 0
