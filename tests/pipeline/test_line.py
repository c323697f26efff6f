from __future__ import annotations

import trio
import trio.lowlevel

from farm.actors.mailbox import Overflow
from farm.actors.supervisor import Lifecycle, LifecycleEvent
from farm.bundle import Bundle
from farm.errors import ConnectionLost
from farm.exchanges.registry import rules_of
from farm.exchanges.session import Opened, SendText
from farm.pipeline import Line, Settings
from farm.pipeline.line import make_line
from farm.types import CollectorStatus, Exchange, Market


def line(name: str = "binance/spot#1") -> Line:
    rules = rules_of(Exchange.BINANCE, Market.SPOT)
    streams = [rules.streams.stream("BTCUSDT", "trade")]
    return make_line(name, rules, streams, Settings(), overflow=Overflow.DROP_OLDEST)


async def test_it_takes_note_of_its_own_actors_alone() -> None:
    first, tenth = line("binance/spot#1"), line("binance/spot#10")
    lost = ConnectionLost("gone")
    for one in (first, tenth):
        one.take_note(LifecycleEvent("binance/spot#10", Lifecycle.WEATHER, lost, 0.5))
        one.take_note(LifecycleEvent("binance/spot#10 parser", Lifecycle.CRASHED, KeyError("x")))
    assert (first.failures, first.crashes, first.last_error) == (0, 0, "")
    assert first.status is CollectorStatus.STARTING
    assert (tenth.failures, tenth.crashes) == (1, 1)
    assert tenth.status is CollectorStatus.BACKING_OFF  # a parser's crash is not the connection's
    assert tenth.last_error == "'x'"


async def test_an_error_without_words_is_named_by_its_type() -> None:
    one = line()
    one.take_note(LifecycleEvent(one.name, Lifecycle.CRASHED, ZeroDivisionError()))
    assert one.last_error == "ZeroDivisionError"


async def publish_nowhere(_bundle: Bundle) -> None:
    await trio.lowlevel.checkpoint()


async def test_commands_go_to_the_connection_and_nowhere_without_one() -> None:
    one = line()
    one.session.handle(Opened(1, 1, 0.0))
    aggregator, parser = one.actors(publish_nowhere)
    assert (aggregator.name, parser.name) == (f"{one.name} aggregator", f"{one.name} parser")
    one._pass_commands()
    assert one.executed.statistics().current_buffer_used == 0
    one.session.handle(Opened(2, 2, 1.0))
    one.connection = object()  # type: ignore[assignment]
    one._pass_commands()
    command = one.executed.receive_nowait()
    assert isinstance(command, SendText)
    assert command.epoch == 2
