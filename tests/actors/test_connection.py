"""The connection actor: against a scripted server over memory, and against a fake exchange."""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Ping,
    Pong,
    RejectConnection,
    TextMessage,
)

from farm.actors.connection import (
    REFUSAL_PAUSES,
    ConnectionActor,
    Wiring,
    is_droppable,
    lose_inputs,
)
from farm.actors.mailbox import Mailbox
from farm.actors.supervisor import Health, Policy, Supervisor
from farm.errors import ConnectFailed, ConnectionLost, HandshakeRefused
from farm.exchanges.registry import rules_of
from farm.exchanges.session import (
    Closed,
    Command,
    FetchSnapshot,
    Finished,
    ForgetSnapshot,
    Frames,
    Input,
    Lost,
    Opened,
    Reconnect,
    Rotate,
    SendText,
    SnapshotAsked,
    SnapshotReply,
    Subscribe,
    Tick,
    Unsubscribe,
)
from farm.net.budget import Budget
from farm.testing import FakeBinance, MarketSimulator, open_fake
from farm.types import Exchange, Market
from tests.actors.test_snapshots import Venue as RestVenue
from tests.actors.test_snapshots import fetching
from tests.effort import moments, runs
from tests.farms import until
from tests.net.peers import RawServer, close_frame, text
from tests.net.test_rest import Answer

Script = Callable[[RawServer], Awaitable[None]]

STREAM = rules_of(Exchange.BINANCE, Market.SPOT).streams.stream("BTCUSDT", "book")
POLLED = rules_of(Exchange.BINANCE, Market.USDM).streams.stream("BTCUSDT", "open_interest")


def inbox(max_bytes: int = 1_000_000, max_items: int = 100_000) -> Mailbox[Input]:
    return Mailbox(
        "c connection>parser",
        lose=lose_inputs,
        droppable=is_droppable,
        max_bytes=max_bytes,
        max_items=max_items,
    )


class Rig:
    """A connection actor, a server for each of its epochs, and the mailbox that it fills."""

    def __init__(
        self,
        scripts: Sequence[Script] = (),
        *,
        mailbox: Mailbox[Input] | None = None,
        silence: float = 60.0,
        rotate_after: float = math.inf,
        url: str = "ws://farm.test/stream",
        **wiring: Any,
    ) -> None:
        self.servers: list[RawServer] = []
        self.mailbox = inbox() if mailbox is None else mailbox
        self.send_command, commands = trio.open_memory_channel[Command](1000)
        self.ready = 0
        self._scripts = list(scripts)
        self._nursery: trio.Nursery | None = None
        self._reader = self.mailbox.reader()
        default: dict[str, Any] = {
            "mailbox": self.mailbox,
            "commands": commands,
            "connect_budget": Budget(300, 300.0, "connect"),
            "control_budget": Budget(100, 1.0, "control"),
            "fetcher": None,
            "wall_clock": lambda: int(trio.current_time() * 1e9),
            "open_stream": self._open_stream,
        }
        self.actor = ConnectionActor(
            "c", url, Wiring(**default | wiring), silence=silence, rotate_after=rotate_after
        )

    async def _open_stream(self, host: str, port: int) -> trio.abc.Stream:
        if not self._scripts:
            raise OSError("nobody listens")
        server = RawServer()
        self.servers.append(server)
        assert self._nursery is not None
        self._nursery.start_soon(self._scripts.pop(0), server)
        return await server.open_stream(host, port)

    @asynccontextmanager
    async def network(self) -> AsyncIterator[None]:
        """Servers live in here."""
        async with trio.open_nursery() as self._nursery:
            yield
            self._nursery.cancel_scope.cancel()

    async def run(self) -> None:
        """One epoch."""
        await self.actor.run(Health(self._on_ready))

    def _on_ready(self) -> None:
        self.ready += 1

    async def lose(self) -> ConnectionLost:
        """One epoch that ends by weather; how."""
        async with self.network():
            with pytest.raises(ConnectionLost) as caught:
                await self.run()
        return caught.value

    def command(self, *commands: Command) -> None:
        for command in commands:
            self.send_command.send_nowait(command)

    async def inputs(self, *, ticks: bool = False) -> list[Input]:
        """Everything that waits in the mailbox."""
        found: list[Input] = []
        while self.mailbox._head or self.mailbox._waiting:
            found.append(await self._reader.next())
        return [item for item in found if ticks or not isinstance(item, Tick)]


def shape(items: Sequence[Input]) -> list[str]:
    return [type(item).__name__ for item in items]


def check(items: Sequence[Input]) -> None:
    """What holds for any life of a connection, read to its end: `items` include the ticks."""
    assert [item.serial for item in items] == sorted({item.serial for item in items})
    epochs: dict[int, list[Input]] = {}
    for item in items:
        epochs.setdefault(item.epoch, []).append(item)
    assert list(epochs) == sorted(epochs)
    for own in epochs.values():
        names = shape(own)
        assert names[0] == "Opened"
        assert names[-1] == "Closed"
        assert (names.count("Opened"), names.count("Closed")) == (1, 1)
        ordinals: list[int] = []
        for item in own:
            if isinstance(item, Frames):
                ordinals += range(item.first_ordinal, item.first_ordinal + len(item.frames))
            elif isinstance(item, SnapshotReply):
                ordinals.append(item.ordinal)
        assert ordinals == list(range(len(ordinals)))
        times = [_time(item) for item in own]
        assert times == sorted(times)


def _time(item: Input) -> int:
    return item.end if isinstance(item, Lost) else item.time


def says(*messages: str, first: str = "", code: int | None = 1001) -> Script:
    """A server that says this, a message a second, and then closes, unless `code` is None."""

    async def script(server: RawServer) -> None:
        await server.accept(text(first) if first else b"")
        for message in messages:
            await trio.sleep(1)
            await server.send(text(message))
        if code is None:
            await listen(server)
            return
        await trio.sleep(1)
        await server.send(close_frame(code, "bye"))
        await server.event()
        await server.stream.aclose()

    return script


async def listen(server: RawServer) -> list[tuple[float, Any]]:
    """Answer a close, otherwise only listen; what came when."""
    heard: list[tuple[float, Any]] = []
    while (event := await server.event()) is not None:
        heard.append((trio.current_time(), event))
        if isinstance(event, CloseConnection):
            await server.send(server.protocol.send(event.response()))
            await server.stream.aclose()
            break
    return heard


def listens(heard: list[tuple[float, Any]]) -> Script:
    async def script(server: RawServer) -> None:
        await server.accept()
        heard.extend(await listen(server))

    return script


# Epochs ----------------------------------------------------------------------------------------


async def test_one_epoch_from_opened_to_closed(autojump_clock: MockClock) -> None:
    rig = Rig([says("b", "c", first="a")])
    lost = await rig.lose()
    assert (lost.code, rig.ready) == (1001, 1)
    opened, a, b, c, closed = items = await rig.inputs()
    assert shape(items) == ["Opened", "Frames", "Frames", "Frames", "Closed"]
    assert isinstance(opened, Opened)
    assert [(f.first_ordinal, f.frames, f.nbytes) for f in (a, b, c) if isinstance(f, Frames)] == [
        (0, [b"a"], 1),
        (1, [b"b"], 1),
        (2, [b"c"], 1),
    ]
    assert [_time(item) for item in items] == [0, 0, 10**9, 2 * 10**9, 3 * 10**9]
    assert isinstance(closed, Closed)
    assert closed.reason == "closed by the server: bye (code 1001)"
    assert not closed.intended
    counters = rig.actor.counters
    assert (counters.frames, counters.nbytes, counters.connects) == (3, 3, 1)
    assert counters.last_frame == 2 * 10**9


async def test_no_clock_reading_goes_back(autojump_clock: MockClock) -> None:
    rig = Rig([says("b", first="a")], wall_clock=itertools.count().__next__)
    await rig.lose()
    check(await rig.inputs(ticks=True))


async def test_ticks_tell_the_time_every_second(autojump_clock: MockClock) -> None:
    rig = Rig([says("a", "b", "c")])
    await rig.lose()
    items = await rig.inputs(ticks=True)
    ticks = [item for item in items if isinstance(item, Tick)]
    assert [tick.now for tick in ticks[:3]] == pytest.approx([1.0, 2.0, 3.0])
    check(items)


async def test_epochs_follow_each_other_under_supervision(autojump_clock: MockClock) -> None:
    rig = Rig([says("a", "b", first="0"), says(code=1006), says("c", first="d"), says(code=None)])
    supervisor = Supervisor(Policy(), weather=(ConnectionLost,))
    async with rig.network():
        with trio.move_on_after(60):
            await supervisor.run(rig.actor)
    items = await rig.inputs(ticks=True)
    check(items)
    serials = [item.serial for item in items]
    assert serials == list(range(1, len(serials) + 1))
    closed = [item for item in items if isinstance(item, Closed)]
    assert [item.epoch for item in closed] == [1, 2, 3, 4]
    assert [item.intended for item in closed] == [False, False, False, True]
    assert closed[-1].reason == "closed by us"


async def test_what_never_opened_is_not_closed(autojump_clock: MockClock) -> None:
    rig = Rig()
    assert isinstance(await rig.lose(), ConnectFailed)
    assert await rig.inputs() == []
    assert rig.ready == 0


async def test_a_crash_downstream_closes_the_epoch(autojump_clock: MockClock) -> None:
    rig = Rig([says("a", code=None)])
    on_read = rig.actor._on_read

    def failing(frames: list[bytes], time: int) -> None:
        on_read(frames, time)
        raise ValueError("a bug")

    rig.actor._on_read = failing  # type: ignore[method-assign]
    async with rig.network():
        with pytest.raises(ValueError, match="a bug"):
            await rig.run()
    items = await rig.inputs(ticks=True)
    check(items)
    assert isinstance(items[-1], Closed)
    assert (items[-1].reason, items[-1].intended) == ("the connection actor crashed", False)


async def test_what_crashed_in_telling_of_the_end_tells_it_before_the_next_try(
    autojump_clock: MockClock,
) -> None:
    """The next connection may be minutes away, and until then the books would look alive."""
    rig = Rig([says("a", code=None)])
    put = rig.actor.put

    def failing(item: Input) -> None:
        if isinstance(item, Closed):
            rig.actor.put = put  # type: ignore[method-assign]
            raise ValueError("a bug")
        put(item)

    rig.actor.put = failing  # type: ignore[method-assign]
    async with rig.network():
        with pytest.raises(ValueError, match="a bug"):
            await rig.run()
        with pytest.raises(ConnectFailed):
            await rig.run()
    items = await rig.inputs()
    assert isinstance(items[-1], Closed)
    assert (items[-1].epoch, items[-1].intended) == (1, False)


async def test_cancelled_at_any_moment_it_closes_the_epoch_as_intended(
    autojump_clock: MockClock,
) -> None:
    async def patient(server: RawServer) -> None:
        with suppress(trio.BrokenResourceError):
            if await server.event() is not None:
                await server.send(server.protocol.send(AcceptConnection()) + text("first"))
                await listen(server)

    opened = 0
    for turn in moments(60):
        rig = Rig([patient])
        rig.command(*(SendText(1, str(number)) for number in range(3)))
        async with rig.network():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(rig.run)
                for _ in range(turn):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            await wait_all_tasks_blocked()
        items = await rig.inputs(ticks=True)
        check(items)
        assert [item.intended for item in items if isinstance(item, Closed)] in ([], [True])
        opened += bool(items)
    assert 0 < opened < len(moments(60))


# Commands --------------------------------------------------------------------------------------


def texts_of(heard: list[tuple[float, Any]]) -> list[tuple[float, str]]:
    return [(time, event.data) for time, event in heard if isinstance(event, TextMessage)]


def send(*texts: str, epoch: int = 1, urgent: bool = False) -> list[SendText]:
    return [SendText(epoch, text, urgent) for text in texts]


async def test_texts_go_out_in_order_within_the_budget(autojump_clock: MockClock) -> None:
    heard: list[tuple[float, Any]] = []
    rig = Rig([listens(heard)], control_budget=Budget(2, 1.0, "control"))
    rig.command(*send("0", "1", "2", "3", "4"))
    async with rig.network(), trio.open_nursery() as nursery:
        nursery.start_soon(rig.run)
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert texts_of(heard) == [(0.0, "0"), (0.0, "1"), (1.0, "2"), (1.0, "3"), (2.0, "4")]


async def test_a_ping_goes_out_next_though_200_requests_wait(autojump_clock: MockClock) -> None:
    """Bybit cuts a client whose ping is late; at 4 texts a second 200 take almost a minute."""
    heard: list[tuple[float, Any]] = []
    rig = Rig([listens(heard)], control_budget=Budget(1, 0.25, "control"), silence=1e9)
    requests = [f"subscribe {number}" for number in range(200)]
    rig.command(*send(*requests))
    async with rig.network(), trio.open_nursery() as nursery:
        nursery.start_soon(rig.run)
        for _ in range(2):
            await trio.sleep(10.1)
            rig.command(*send("ping", "pong", urgent=True))
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    sent = texts_of(heard)
    assert [text for _, text in sent if text.startswith("s")] == requests
    urgent = [(time, text) for time, text in sent if not text.startswith("s")]
    assert urgent == [(10.25, "ping"), (10.5, "pong"), (20.25, "ping"), (20.5, "pong")]
    assert [time for time, _ in sent] == [number * 0.25 for number in range(204)]


async def test_a_reconnect_does_not_wait_behind_texts_which_die_with_their_epoch(
    autojump_clock: MockClock,
) -> None:
    first: list[tuple[float, Any]] = []
    second: list[tuple[float, Any]] = []
    rig = Rig([listens(first), listens(second)], control_budget=Budget(1, 10.0, "control"))
    rig.command(*send(*map(str, range(100))), *send("ping", urgent=True))
    rig.command(Reconnect(1, "enough"))
    assert (await rig.lose()).reason == "enough"
    assert trio.current_time() < 10
    assert len(texts_of(first)) <= 1
    async with rig.network(), trio.open_nursery() as nursery:
        nursery.start_soon(rig.run)
        rig.command(*send("new", "newer", epoch=2))
        await trio.sleep(30)
        nursery.cancel_scope.cancel()
    assert [text for _, text in texts_of(second)] == ["new", "newer"]


@pytest.mark.parametrize("urgent", [False, True])
async def test_texts_put_in_at_any_moment_go_out_once_and_in_order(
    autojump_clock: MockClock, urgent: bool
) -> None:
    for turn in moments(40):
        heard: list[tuple[float, Any]] = []
        rig = Rig([listens(heard)], control_budget=Budget(3, 0.1, "control"))
        async with rig.network(), trio.open_nursery() as nursery:
            nursery.start_soon(rig.run)
            for number in range(8):
                rig.command(*send(str(number), urgent=urgent))
                for _ in range(turn):
                    await trio.lowlevel.checkpoint()
            await trio.sleep(2)
            nursery.cancel_scope.cancel()
        assert [text for _, text in texts_of(heard)] == list("01234567"), turn


async def test_commands_of_another_epoch_are_discarded(autojump_clock: MockClock) -> None:
    heard: list[tuple[float, Any]] = []
    asked: list[str] = []
    rig = Rig([says(), listens(heard)], on_rotate=asked.append)
    await rig.lose()
    rig.command(*send("old"), *send("old ping", urgent=True), Rotate(1, "old"))
    rig.command(Reconnect(1, "old"), FetchSnapshot(1, STREAM, "/", (), 1), *send("new", epoch=2))
    async with rig.network(), trio.open_nursery() as nursery:
        nursery.start_soon(rig.run)
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert [text for _, text in texts_of(heard)] == ["new"]
    assert asked == []


async def test_reconnect_ends_the_connection_as_weather(autojump_clock: MockClock) -> None:
    heard: list[tuple[float, Any]] = []
    rig = Rig([listens(heard)])
    rig.command(Reconnect(1, "no answer to the request for " + "btcusdt@depth " * 30))
    lost = await rig.lose()
    assert lost.reason.startswith("no answer to the request")
    *_, closed = await rig.inputs()
    assert isinstance(closed, Closed)
    assert closed.reason.startswith("no answer to the request")
    assert not closed.intended


@pytest.mark.parametrize("budget", [1, 100])
async def test_a_server_that_goes_while_texts_go_out_is_weather(
    autojump_clock: MockClock, budget: int
) -> None:
    async def hang_up(server: RawServer) -> None:
        await server.accept()
        await server.event()
        await server.stream.aclose()

    for _ in range(runs(10)):
        rig = Rig([hang_up], control_budget=Budget(budget, 1.0, "control"))
        rig.command(*(SendText(1, "x") for _ in range(50)))
        assert (await rig.lose()).code == 1006
        items = await rig.inputs(ticks=True)
        check(items)
        assert isinstance(items[-1], Closed)
        assert not items[-1].intended


# Rotation --------------------------------------------------------------------------------------


async def test_an_old_connection_asks_once_to_be_replaced_and_goes_on(
    autojump_clock: MockClock,
) -> None:
    asked: list[tuple[float, str]] = []
    talk = [str(number) for number in range(60)]
    rig = Rig(
        [says(*talk), says(*talk)],
        rotate_after=20.0,
        on_rotate=lambda reason: asked.append((trio.current_time(), reason)),
    )
    for epoch in (1, 2):
        opened = trio.current_time()
        assert (await rig.lose()).code == 1001
        assert len(asked) == epoch
        time, reason = asked[-1]
        assert 20.0 <= time - opened < 21.1  # a tick later at the most
        assert reason.startswith("it is 2")
        assert trio.current_time() - opened > 60  # make before break: it does not end itself


async def test_a_connection_that_is_not_old_yet_asks_for_nothing(
    autojump_clock: MockClock,
) -> None:
    asked: list[str] = []
    rig = Rig([says(*"abcdefgh")], rotate_after=20.0, on_rotate=asked.append)
    await rig.lose()
    assert asked == []


async def test_what_the_core_wants_replaced_goes_on_meanwhile(autojump_clock: MockClock) -> None:
    asked: list[str] = []
    rig = Rig([says("a", "b", "c", "d")], on_rotate=asked.append)
    rig.command(Rotate(1, "the server shuts down"))
    assert (await rig.lose()).code == 1001
    assert asked == ["the server shuts down"]
    assert shape(await rig.inputs()) == ["Opened", *["Frames"] * 4, "Closed"]


# Refusals --------------------------------------------------------------------------------------


def refuses(status: int, retry_after: str | None = None) -> Script:
    async def script(server: RawServer) -> None:
        await server.event()
        headers = [(b"Content-Length", b"0")]
        if retry_after is not None:
            headers.append((b"Retry-After", retry_after.encode()))
        await server.send(server.protocol.send(RejectConnection(status, headers)))
        await server.stream.aclose()

    return script


@pytest.mark.parametrize(
    ("status", "retry_after", "pause"),
    [
        *((status, None, pause) for status, pause in REFUSAL_PAUSES.items()),
        (429, "7", 7.0),
        (418, "86400", 86_400.0),
        (429, "Wed, 21 Oct 2026 07:28:00 GMT", 60.0),
        (429, "-5", 60.0),
        (429, "999999999999999", 259_200.0),  # no ban is known to be longer than three days
        (503, "30", 30.0),
        (503, None, 0.0),
        (451, None, 0.0),
    ],
)
async def test_a_refused_handshake_holds_every_connection_to_that_venue(
    autojump_clock: MockClock, status: int, retry_after: str | None, pause: float
) -> None:
    budget = Budget(300, 300.0, "connect")
    refused = Rig([refuses(status, retry_after)], connect_budget=budget)
    lost = await refused.lose()
    assert isinstance(lost, HandshakeRefused)
    assert lost.code == status
    assert await refused.inputs() == []
    other = Rig([says("a")], connect_budget=budget)
    before = trio.current_time()
    await other.lose()
    opened, *_ = await other.inputs()
    assert isinstance(opened, Opened)
    assert opened.now - before == pytest.approx(pause)


async def test_the_pauses_are_those_that_venues_punish_by() -> None:
    assert REFUSAL_PAUSES == {429: 60.0, 418: 120.0, 403: 600.0}


async def test_under_supervision_a_ban_is_waited_out(autojump_clock: MockClock) -> None:
    rig = Rig([refuses(418, "180"), refuses(418, "180"), says("a", code=None)])
    supervisor = Supervisor(Policy(), weather=(ConnectionLost,))
    async with rig.network():
        with trio.move_on_after(400):
            await supervisor.run(rig.actor)
    opened, *_ = await rig.inputs()
    assert isinstance(opened, Opened)
    assert opened.now == pytest.approx(360, abs=1)
    assert len(rig.servers) == 3


# Silence ---------------------------------------------------------------------------------------


async def test_silence_ends_the_connection(autojump_clock: MockClock) -> None:
    rig = Rig([says("a", "b", code=None)], silence=10.0)
    lost = await rig.lose()
    assert lost.reason == "nothing came for 10 s"
    assert 12.0 < trio.current_time() <= 13.1  # two seconds of talk, then silence and a tick
    *_, closed = await rig.inputs()
    assert isinstance(closed, Closed)
    assert not closed.intended


async def test_pings_alone_keep_it_alive(autojump_clock: MockClock) -> None:
    pongs = 0

    async def pinging(server: RawServer) -> None:
        nonlocal pongs
        await server.accept()
        for _ in range(10):
            await trio.sleep(9)
            await server.send(server.protocol.send(Ping(b"alive?")))
            event = await server.event()
            assert isinstance(event, Pong)
            assert event.payload == b"alive?"
            pongs += 1
        await listen(server)

    rig = Rig([pinging], silence=10.0)
    assert (await rig.lose()).reason == "nothing came for 10 s"
    assert pongs == 10
    assert trio.current_time() > 100


# A reader that does not read -------------------------------------------------------------------


async def test_a_full_mailbox_drops_with_a_record_and_pongs_go_on(
    autojump_clock: MockClock,
) -> None:
    sent = 0

    async def flooding(server: RawServer) -> None:
        nonlocal sent
        await server.accept()
        for _ in range(50):
            for _ in range(20):
                await server.send(text("x" * 100))
                sent += 1
            await server.send(server.protocol.send(Ping(b"?")))
            assert isinstance(await server.event(), Pong)
        await server.send(close_frame(1000))
        await listen(server)

    rig = Rig([flooding], mailbox=inbox(max_bytes=5000))
    await rig.lose()
    items = await rig.inputs(ticks=True)
    lost = [item for item in items if isinstance(item, Lost)]
    frames = [item for item in items if isinstance(item, Frames)]
    assert shape(items)[:3] == ["Opened", "Lost", "Frames"]
    assert len(lost) == 1
    assert sum(item.nbytes for item in frames) <= 5000
    assert sent == 1000 == lost[0].frames + sum(len(item.frames) for item in frames)
    assert frames[0].first_ordinal == lost[0].frames
    assert isinstance(items[-1], Closed)


async def test_a_reader_that_is_gone_costs_no_memory(autojump_clock: MockClock) -> None:
    async def talking(server: RawServer) -> None:
        await server.accept()
        for _ in range(60):
            await trio.sleep(10)
            await server.send(text("x"))

    rig = Rig([talking], mailbox=inbox(max_items=50))
    async with rig.network(), trio.open_nursery() as nursery:
        nursery.start_soon(rig.run)
        await trio.sleep(595)
        assert rig.mailbox.offered > 640  # most of them ticks
        assert len(rig.mailbox) <= 51  # what opened the epoch takes no room
        nursery.cancel_scope.cancel()
    opened, lost, *rest = await rig.inputs()
    assert isinstance(opened, Opened)
    assert isinstance(lost, Lost)
    assert lost.frames + shape(rest).count("Frames") == 59


# Snapshots -------------------------------------------------------------------------------------


async def test_snapshots_take_their_place_among_the_frames(autojump_clock: MockClock) -> None:
    rest = RestVenue(lambda number: Answer(500) if number == 0 else Answer(body=b"%d" % number))
    async with fetching(rest) as fetcher:
        rig = Rig([says("a", "b", "c", "d", first="0")], fetcher=fetcher)
        rig.command(fetch("BTCUSDT"), fetch("ETHUSDT"))
        await rig.lose()
    items = await rig.inputs(ticks=True)
    check(items)
    replies = [item for item in items if isinstance(item, SnapshotReply)]
    assert sorted(reply.stream.symbol for reply in replies) == ["BTCUSDT", "ETHUSDT"]
    assert [(reply.body, reply.nbytes, reply.epoch) for reply in replies] == [
        (b"1", 1, 1),
        (b"2", 1, 1),
    ]


class Log:
    """Notes in one list what a connection puts into its mailbox, and what its venue is asked."""

    def __init__(self, answer: Callable[[int], Answer]) -> None:
        self.entries: list[tuple[str, str]] = []
        self.rest = RestVenue(self._answer)
        self._by_number = answer

    def _answer(self, number: int) -> Answer:
        self.entries.append(("request", self.rest.asked[-1][1]))
        return self._by_number(number)

    def watch(self, rig: Rig) -> None:
        put = rig.mailbox.put

        def noting(item: Input) -> None:
            if isinstance(item, SnapshotAsked | SnapshotReply):
                self.entries.append((type(item).__name__, item.stream.symbol))
            put(item)

        rig.mailbox.put = noting  # type: ignore[method-assign]


async def test_the_core_is_told_just_before_each_request_for_a_snapshot(
    autojump_clock: MockClock,
) -> None:
    """From there on the diffs are needed that the snapshot is to be joined with."""
    log = Log(lambda number: Answer(500) if number < 2 else Answer(body=b"{}"))
    async with fetching(log.rest) as fetcher:
        rig = Rig([says(*"abcdefgh", first="0")], fetcher=fetcher)
        log.watch(rig)
        rig.command(fetch("BTCUSDT"))
        await rig.lose()
    sent = [("SnapshotAsked", "BTCUSDT"), ("request", "BTCUSDT")]
    assert log.entries == [*sent, *sent, *sent, ("SnapshotReply", "BTCUSDT")]
    items = await rig.inputs(ticks=True)
    check(items)
    times = [item.time for item in items if isinstance(item, SnapshotAsked)]
    assert times == [int(time * 1e9) for time, _ in log.rest.asked]
    assert times == sorted(set(times))


async def test_a_request_is_not_told_of_while_it_waits_for_the_weight(
    autojump_clock: MockClock,
) -> None:
    log = Log(lambda _: Answer(body=b"{}"))
    async with fetching(log.rest, budget=Budget(50, 60.0, "weight")) as fetcher:
        rig = Rig([says(code=None)], fetcher=fetcher, silence=1e9)
        log.watch(rig)
        rig.command(*(fetch(symbol, weight=50) for symbol in ("BTCUSDT", "ETHUSDT")))
        async with rig.network(), trio.open_nursery() as nursery:
            nursery.start_soon(rig.run)
            await trio.sleep(59)
            (first, *_) = log.entries
            assert log.entries == [first, ("request", first[1]), ("SnapshotReply", first[1])]
            await trio.sleep(2)
            assert [kind for kind, _ in log.entries[3:]] == [kind for kind, _ in log.entries[:3]]
            nursery.cancel_scope.cancel()
    asked = [item for item in await rig.inputs() if isinstance(item, SnapshotAsked)]
    assert [item.time for item in asked] == [0, 60 * 10**9]


async def test_a_book_that_asks_again_has_its_need_brought_up_to_date(
    autojump_clock: MockClock,
) -> None:
    log = Log(lambda _: Answer(body=b"{}"))
    async with fetching(log.rest, budget=Budget(50, 60.0, "weight")) as fetcher:
        rig = Rig([says(code=None)], fetcher=fetcher, silence=1e9)
        async with rig.network(), trio.open_nursery() as nursery:
            nursery.start_soon(rig.run)
            for need, symbol in enumerate("ABCDE"):  # A goes at once, B has the next turn
                rig.command(fetch(symbol, weight=50, need=need))
                await wait_all_tasks_blocked(0.01)
            rig.command(fetch("C", weight=50, need=99))
            rig.command(fetch("D", weight=50, need=0))
            await trio.sleep(400)
            nursery.cancel_scope.cancel()
    assert [symbol for _, symbol in log.rest.asked] == ["A", "B", "C", "E", "D"]


async def test_one_book_is_fetched_by_one_task_however_often_it_is_asked_for(
    autojump_clock: MockClock,
) -> None:
    down = 600.0
    rest = RestVenue(lambda _: Answer(500 if trio.current_time() < down else 200))
    async with fetching(rest) as fetcher:
        rig = Rig([says(code=None)], fetcher=fetcher, silence=1e9)
        async with rig.network(), trio.open_nursery() as nursery:
            nursery.start_soon(rig.run)
            for _ in range(40):  # a book repeats its request while it has no answer
                rig.command(fetch("BTCUSDT"))
                await trio.sleep(15)
            await trio.sleep(100)
            assert fetcher.fetched == 1
            rig.command(fetch("BTCUSDT"))
            await trio.sleep(10)
            assert fetcher.fetched == 2
            nursery.cancel_scope.cancel()
    opened, *items, closed = shape(await rig.inputs())
    assert (opened, closed) == ("Opened", "Closed")
    assert items[-3:] == ["SnapshotReply", "SnapshotAsked", "SnapshotReply"]
    assert items[:-3] == ["SnapshotAsked"] * (len(rest.asked) - 1)  # one for each try


async def test_what_is_not_wanted_any_more_is_not_fetched(autojump_clock: MockClock) -> None:
    """Given up at any moment: either it came before, or it does not come."""
    came = 0
    for turn in moments(60):
        rest = RestVenue(lambda _: Answer())
        async with fetching(rest) as fetcher:
            rig = Rig([says(code=None)], fetcher=fetcher, silence=1e9)
            async with rig.network(), trio.open_nursery() as nursery:
                nursery.start_soon(rig.run)
                await wait_all_tasks_blocked()
                rig.command(fetch("BTCUSDT"))
                for _ in range(turn):
                    await trio.lowlevel.checkpoint()
                forgotten = fetch("BTCUSDT")
                rig.command(ForgetSnapshot(1, forgotten.stream))
                await wait_all_tasks_blocked()
                before = shape(await rig.inputs()).count("SnapshotReply")
                await trio.sleep(100)
                assert "SnapshotReply" not in shape(await rig.inputs())
                rig.command(fetch("BTCUSDT"))
                await trio.sleep(10)
                assert shape(await rig.inputs()).count("SnapshotReply") == 1
                nursery.cancel_scope.cancel()
        came += before
    assert 0 < came < len(moments(60))


async def test_a_fetch_ends_with_its_epoch(autojump_clock: MockClock) -> None:
    rest = RestVenue(lambda _: Answer(body=b"late", stall=True))
    async with fetching(rest) as fetcher:
        rig = Rig([says("a"), says("b")], fetcher=fetcher)
        rig.command(fetch("BTCUSDT"))
        await rig.lose()
        rig.command(attrs.evolve(fetch("BTCUSDT"), epoch=2))
        await rig.lose()
        await trio.sleep(100)
    assert [symbol for _, symbol in rest.asked] == ["BTCUSDT", "BTCUSDT"]
    items = await rig.inputs(ticks=True)
    check(items)
    assert "SnapshotReply" not in shape(items)


def fetch(symbol: str, *, weight: int = 1, need: int = 0) -> FetchSnapshot:
    stream = attrs.evolve(STREAM, symbol=symbol)
    params = (("symbol", symbol), ("limit", 5000))
    return FetchSnapshot(1, stream, "/depth", params, weight, need)


# Losses ----------------------------------------------------------------------------------------


def frames(first: int, count: int, epoch: int = 1) -> Frames:
    return Frames(epoch, 100 + first, first, [b"x"] * count, count, serial=first + 1)


def test_lost_inputs_fold_into_one() -> None:
    loss: Input | None = None
    for item in (frames(0, 3), frames(3, 2), Tick(1, 106, 1.0, serial=7), frames(8, 1)):
        loss = lose_inputs(loss, item, False)
    assert loss == Lost(1, 6, 100, 108, "connection>parser", False, 0, 9)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (frames(4, 2), Lost(1, 2, 104, 104, "parser", True, 0, 5)),
        (SnapshotReply(2, 50, 7, STREAM, b"{}", 2, 3), Lost(2, 0, 50, 50, "parser", True, 0, 3)),
        (SnapshotReply(2, 50, 7, POLLED, b"{}", 2, 3), Lost(2, 1, 50, 50, "parser", True, 0, 3)),
        (Opened(2, 50, 1.0, serial=3), Lost(2, 0, 50, 50, "parser", True, 0, 3)),
        (
            Lost(1, 9, 10, 20, "connection>parser", False, 0, 8),
            Lost(1, 9, 10, 20, "parser", True, 0, 8),
        ),
    ],
)
def test_a_quarantined_input_is_a_loss_of_the_parser(item: Input, expected: Lost) -> None:
    assert lose_inputs(None, item, True) == expected


@pytest.mark.parametrize(
    ("item", "droppable"),
    [
        (frames(0, 1), True),
        (Tick(1, 1, 1.0), True),
        (Opened(1, 1, 1.0), False),
        (Closed(1, 1, ""), False),
        (SnapshotReply(1, 1, 1, STREAM, b"", 0), False),
        (SnapshotReply(1, 1, 1, POLLED, b"", 0), True),
        (SnapshotAsked(1, 1, STREAM), False),
        (Subscribe(1, [STREAM]), False),
        (Unsubscribe(1, [STREAM]), False),
        (Finished(1), False),
        (Lost(1, 1, 1, 1, "", False), False),
    ],
)
def test_what_tells_of_the_connection_is_not_droppable(item: Input, droppable: bool) -> None:
    assert is_droppable(item) is droppable


# Against a fake exchange, over real sockets ----------------------------------------------------


async def test_a_venue_that_dies_and_comes_back() -> None:
    market = MarketSimulator(Exchange.BINANCE, Market.SPOT, ["BTCUSDT"], seed=3, seconds=60)
    async with open_fake(FakeBinance(market, hold_for_snapshots=False)) as venue:
        rig = Rig(url=venue.ws_url + "/stream?streams=btcusdt@trade", open_stream=None)
        policy = Policy(backoff_initial=0.05, backoff_cap=0.1)
        supervisor = Supervisor(policy, weather=(ConnectionLost,))
        counters = rig.actor.counters
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run, rig.actor)
            for epoch in range(1, 4):
                await until(lambda: counters.connects == epoch)  # noqa: B023
                before = counters.frames
                venue.inject("btcusdt@trade", f"epoch {epoch}")
                await until(lambda: counters.frames > before)  # noqa: B023
                if epoch == 1:
                    venue.kill()
                    await until(lambda: not venue.connections)
                    await venue.revive()
                elif epoch == 2:
                    venue.break_connections()
            await venue.finished.wait()
            nursery.cancel_scope.cancel()
    items = await rig.inputs(ticks=True)
    check(items)
    closed = [item for item in items if isinstance(item, Closed)]
    assert [item.intended for item in closed] == [False, False, True]
    assert all(item.reason for item in closed)
    received = [item for item in items if isinstance(item, Frames)]
    assert {item.epoch for item in received} == {item.epoch for item in closed}
    texts = [raw for item in received for raw in item.frames]
    assert len(set(texts)) == len(texts) == counters.frames
