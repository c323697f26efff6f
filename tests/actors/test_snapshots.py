"""Fetching snapshots: a real REST client over memory streams, on a mock clock."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import h11
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from farm.actors.snapshots import BACKOFF_CAP, LEAST_PAUSE, SnapshotFetcher, _Turns
from farm.exchanges.registry import rules_of
from farm.exchanges.session import FetchSnapshot
from farm.net.budget import Budget
from farm.net.rest import RestClient
from farm.types import Exchange, Market
from tests.effort import moments, runs
from tests.net.test_rest import Answer, MemoryDial, Server

RULES = rules_of(Exchange.BINANCE, Market.SPOT)


def request(symbol: str = "BTCUSDT", weight: int = 1, need: int = 0) -> FetchSnapshot:
    stream = RULES.streams.stream(symbol, "book")
    params = (("symbol", symbol), ("limit", 5000))
    return FetchSnapshot(1, stream, "/depth", params, weight, need)


def unheard() -> None:
    """For those who don't care when a request is sent."""


class Venue(Server):
    """Answers as `answer` says, a try at a time, and notes when it was asked for which symbol."""

    def __init__(self, answer: Callable[[int], Answer]) -> None:
        super().__init__(self._note)
        self.asked: list[tuple[float, str]] = []
        self._by_number = answer

    def _note(self, request: h11.Request) -> Answer:
        target = urlsplit(request.target.decode())
        assert target.path == "/depth"
        assert parse_qs(target.query)["limit"] == ["5000"]
        self.asked.append((trio.current_time(), parse_qs(target.query)["symbol"][0]))
        return self._by_number(len(self.asked) - 1)

    @property
    def pauses(self) -> list[float]:
        return [b - a for (a, _), (b, _) in pairwise(self.asked)]


@asynccontextmanager
async def fetching(
    venue: Venue, *, budget: Budget | None = None, **options: Any
) -> AsyncIterator[SnapshotFetcher]:
    dial = MemoryDial(venue)
    async with trio.open_nursery() as nursery:
        dial.nursery = nursery
        async with RestClient(
            "http://farm.test",
            budget=budget or Budget(10_000, 60.0, "weight"),
            open_stream=dial,
        ) as client:
            yield SnapshotFetcher(client, **options)
        nursery.cancel_scope.cancel()


def fails(times: int, status: int = 500) -> Callable[[int], Answer]:
    return lambda number: Answer(status) if number < times else Answer(body=b'{"book":1}')


async def test_the_body_comes_back(autojump_clock: MockClock) -> None:
    venue = Venue(fails(0))
    budget = Budget(100, 60.0, "weight")
    async with fetching(venue, budget=budget) as fetcher:
        assert await fetcher.fetch(request(weight=50), unheard) == b'{"book":1}'
    assert venue.asked == [(0.0, "BTCUSDT")]
    assert budget.used == 50
    assert (fetcher.fetched, fetcher.failed) == (1, 0)


async def test_it_is_asked_again_with_backoff_until_it_comes(autojump_clock: MockClock) -> None:
    venue = Venue(fails(9))
    async with fetching(venue) as fetcher:
        assert await fetcher.fetch(request(), unheard) == b'{"book":1}'
    assert (fetcher.fetched, fetcher.failed) == (1, 9)
    for tries, pause in enumerate(venue.pauses):
        ceiling = min(BACKOFF_CAP, 2.0**tries)
        assert ceiling / 2 <= pause <= ceiling


async def test_pauses_of_a_feed_do_not_depend_on_what_the_others_draw(
    autojump_clock: MockClock,
) -> None:
    def seeded(name: str) -> random.Random:
        return random.Random(f"9:{name}")

    async def tries(*symbols: str) -> dict[str, list[float]]:
        """When each symbol is asked for: five times in vain, and once more."""
        failures = Counter[str]()

        def answer(number: int) -> Answer:
            symbol = venue.asked[number][1]
            failures[symbol] += 1
            return Answer(500) if failures[symbol] <= 5 else Answer(body=b"{}")

        venue = Venue(answer)
        start = trio.current_time()
        async with fetching(venue, rng=seeded) as fetcher, trio.open_nursery() as nursery:
            for symbol in symbols:
                nursery.start_soon(fetcher.fetch, request(symbol), unheard)
        times: dict[str, list[float]] = {}
        for time, symbol in venue.asked:
            times.setdefault(symbol, []).append(pytest.approx(time - start))
        return times

    alone = {symbol: (await tries(symbol))[symbol] for symbol in ("A", "B", "C")}
    assert len(alone["A"]) == 6
    assert alone["A"] != alone["B"]
    assert await tries("A", "B", "C") == alone
    assert await tries("C", "A", "B") == alone


async def test_a_server_that_cannot_be_reached_is_asked_again(autojump_clock: MockClock) -> None:
    venue = Venue(lambda number: Answer(body=b"{}", cut=number < 2))
    async with fetching(venue) as fetcher:
        assert await fetcher.fetch(request(), unheard) == b"{}"
    assert fetcher.failed == 2


async def test_a_rate_limit_pauses_all_books(autojump_clock: MockClock) -> None:
    busy = Answer(429, headers=[("Retry-After", "30")])
    venue = Venue(lambda number: Answer() if number else busy)
    async with fetching(venue) as fetcher, trio.open_nursery() as nursery:
        nursery.start_soon(fetcher.fetch, request("BTCUSDT"), unheard)
        await wait_all_tasks_blocked(0.01)
        nursery.start_soon(fetcher.fetch, request("ETHUSDT"), unheard)
    assert [symbol for _, symbol in venue.asked[1:]] in (
        ["BTCUSDT", "ETHUSDT"],
        ["ETHUSDT", "BTCUSDT"],
    )
    assert all(time >= 30 for time, _ in venue.asked[1:])


async def test_one_book_is_not_asked_for_twice_within_the_least_pause(
    autojump_clock: MockClock,
) -> None:
    venue = Venue(fails(0))
    async with fetching(venue) as fetcher:
        for symbol in ("BTCUSDT", "ETHUSDT", "BTCUSDT", "ETHUSDT"):
            await fetcher.fetch(request(symbol), unheard)
        await trio.sleep(5)
        await fetcher.fetch(request("BTCUSDT"), unheard)
    assert venue.asked == [
        (0.0, "BTCUSDT"),
        (0.0, "ETHUSDT"),
        (1.0, "BTCUSDT"),
        (1.0, "ETHUSDT"),
        (6.0, "BTCUSDT"),
    ]


async def test_so_many_at_once_and_no_more(autojump_clock: MockClock) -> None:
    venue = Venue(lambda _: Answer(stall=True, body=b"{}"))
    async with fetching(venue, parallel=2) as fetcher, trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(fetcher.fetch, request(f"S{number}"), unheard)
        await wait_all_tasks_blocked(0.01)
        assert len(venue.asked) == 2
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("answer", [Answer(stall=True, body=b"{}"), Answer(500)])
async def test_cancelled_at_any_moment_it_leaves_room_for_others(
    autojump_clock: MockClock, answer: Answer
) -> None:
    hostile = True
    venue = Venue(lambda _: answer if hostile else Answer(body=b"{}"))
    async with fetching(venue, parallel=1) as fetcher:
        for turn in moments(30):
            with trio.move_on_after(turn * 0.13) as scope:
                await fetcher.fetch(request(), unheard)
            assert scope.cancelled_caught
        hostile = False
        assert await fetcher.fetch(request(), unheard) == b"{}"


# Turns -----------------------------------------------------------------------------------------


@asynccontextmanager
async def queueing(
    fetcher: SnapshotFetcher, requests: Sequence[FetchSnapshot]
) -> AsyncIterator[list[trio.CancelScope]]:
    """All of `requests` under way, in this order; a scope for each."""
    scopes = [trio.CancelScope() for _ in requests]

    async def fetch(one: FetchSnapshot, scope: trio.CancelScope) -> None:
        with scope:
            await fetcher.fetch(one, unheard)

    async with trio.open_nursery() as nursery:
        for one, scope in zip(requests, scopes, strict=True):
            nursery.start_soon(fetch, one, scope)
            await wait_all_tasks_blocked(0.001)
        yield scopes


def answering() -> Venue:
    return Venue(lambda _: Answer(body=b"{}"))


def one_a_minute() -> Budget:
    return Budget(50, 60.0, "weight")


def symbols(venue: Venue) -> str:
    return "".join(symbol for _, symbol in venue.asked)


async def test_of_those_that_wait_the_neediest_is_next_and_of_equals_the_first(
    autojump_clock: MockClock,
) -> None:
    venue = answering()
    needs = {"A": 0, "B": 1, "C": 5, "D": 9, "E": 5, "F": 9, "G": 2**32, "H": 1, "I": 5}
    async with (
        fetching(venue, budget=one_a_minute()) as fetcher,
        queueing(fetcher, [request(s, 50, need) for s, need in needs.items()]),
    ):
        pass
    assert symbols(venue) == "AB" + "G" + "DF" + "CEI" + "H"  # A went at once, B was the next then
    assert [time for time, _ in venue.asked] == [60.0 * minute for minute in range(9)]


async def test_need_that_grows_or_shrinks_while_it_waits_changes_the_order(
    autojump_clock: MockClock,
) -> None:
    venue = answering()
    async with (
        fetching(venue, budget=one_a_minute()) as fetcher,
        queueing(fetcher, [request(s, 50, n) for n, s in enumerate("ABCDEF")]),
    ):
        fetcher.update(request("C", 50, 50))
        fetcher.update(request("F", 50, 0))
        fetcher.update(request("Z", 50, 99))  # nobody waits for it
        await trio.sleep(150)  # A, B, C
        assert symbols(venue) == "ABC"
        fetcher.update(request("F", 50, 60))
    assert symbols(venue) == "ABC" + "EFD"  # the turn was E's before F needed it more


async def test_need_that_grew_between_two_tries_counts_in_the_next(
    autojump_clock: MockClock,
) -> None:
    """A book repeats its request every quarter of a minute, and a try may be under way then."""
    venue = Venue(lambda number: Answer(500) if number == 0 else Answer(body=b"{}"))
    async with (
        fetching(venue, budget=one_a_minute()) as fetcher,
        queueing(fetcher, [request("A", 50, 0)]),
    ):
        fetcher.update(request("A", 50, 7))  # it has failed, and waits for its next try
        async with queueing(fetcher, [request(s, 50, 5) for s in "BCD"]):
            pass
    assert symbols(venue) == "AB" + "ACD"


async def test_those_who_come_later_may_be_needier(autojump_clock: MockClock) -> None:
    venue = answering()
    async with (
        fetching(venue, budget=one_a_minute()) as fetcher,
        queueing(fetcher, [request(s, 50, 1) for s in "ABCDE"]),
    ):
        await trio.sleep(90)
        async with queueing(fetcher, [request(s, 50, 9) for s in "XY"]):
            pass
    assert symbols(venue) == "ABCXYDE"


async def test_a_turn_granted_to_one_that_is_cancelled_goes_on_to_the_next() -> None:
    """The grant and the cancellation meet in one turn of the scheduler, in either order."""
    for cancel_first in (True, False):
        turns = _Turns()
        holder = await turns.take("holder", 0)
        scope, got = trio.CancelScope(), trio.Event()

        async def wait(turns: _Turns, scope: trio.CancelScope) -> None:
            with scope:
                turn = await turns.take("cut", 9)
                try:
                    await trio.sleep_forever()
                finally:
                    turn.give_back()

        async def take(turns: _Turns, got: trio.Event) -> None:
            (await turns.take("other", 0)).give_back()
            got.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, turns, scope)
            await wait_all_tasks_blocked()
            nursery.start_soon(take, turns, got)
            await wait_all_tasks_blocked()
            if cancel_first:
                scope.cancel()
            holder.give_back()
            scope.cancel()
            with trio.fail_after(5):
                await got.wait()
        assert turns._free
        assert not turns._waiting


async def test_cancelled_at_any_moment_it_leaves_the_turn_to_others(
    autojump_clock: MockClock,
) -> None:
    for seed in range(runs(60)):
        rng = random.Random(seed)
        venue = Venue(by_turns([rng.choice([200, 500]) for _ in range(12)]))
        parallel = rng.choice([1, 2, 4])
        with trio.fail_after(36_000):
            await cancel_half(venue, parallel, rng)


def by_turns(statuses: Sequence[int]) -> Callable[[int], Answer]:
    return lambda number: Answer([*statuses, 200][number % (len(statuses) + 1)])


async def cancel_half(venue: Venue, parallel: int, rng: random.Random) -> None:
    """Six of twelve are cancelled, each at a moment of its own; the others must be served."""
    async with fetching(venue, parallel=parallel, budget=one_a_minute()) as fetcher:
        needs = [request(f"S{number}", 25, rng.randrange(4)) for number in range(12)]
        async with queueing(fetcher, needs) as scopes:
            for scope in rng.sample(scopes, 6):
                await trio.sleep(rng.choice([0, 0, 0.5, 30, 60]))
                for _ in range(rng.randrange(4)):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        assert fetcher.fetched >= 6
        assert fetcher.fetched + sum(scope.cancelled_caught for scope in scopes) == 12
        assert fetcher._turns._free
        assert not fetcher._turns._waiting
        assert not fetcher._needs
        assert fetcher._limit.borrowed_tokens == 0


async def test_a_thousand_books_take_eight_minutes_and_never_more_than_the_venue_allows(
    autojump_clock: MockClock,
) -> None:
    venue = answering()
    rng = random.Random(7)
    needs = {f"S{number}": rng.randrange(500) for number in range(1000)}
    sent: list[float] = []
    budget = Budget(6000, 60.0, "weight")

    def note_sent() -> None:
        sent.append(trio.current_time())

    async with fetching(venue, budget=budget) as fetcher, trio.open_nursery() as nursery:
        for symbol, need in needs.items():
            nursery.start_soon(fetcher.fetch, request(symbol, 50, need), note_sent)
    assert fetcher.fetched == 1000
    assert sent == [time for time, _ in venue.asked]
    assert sent[-1] == 8 * 60.0
    for index, time in enumerate(sent):
        assert sum(time <= later < time + 60 for later in sent[index:]) * 50 <= 6000
    # All of them waited from the start on, but for the first, whose turn was free: neediest first.
    order = [needs[symbol] for _, symbol in venue.asked]
    assert order[2:] == sorted(order[2:], reverse=True)


async def test_answers_that_no_core_can_use_are_asked_for_less_and_less(
    autojump_clock: MockClock,
) -> None:
    """Bybit says no in an answer of 200: the core can't use it, and asks again at once."""
    venue = Venue(fails(0))
    async with fetching(venue) as fetcher:
        await fetcher.fetch(request(), unheard)
        for _ in range(9):
            await fetcher.fetch(attrs.evolve(request(), failed=True), unheard)
        for number, pause in enumerate(venue.pauses):
            ceiling = min(BACKOFF_CAP, 2.0**number)
            assert ceiling / 2 <= pause - LEAST_PAUSE <= ceiling
        before = trio.current_time()
        await fetcher.fetch(request(), unheard)  # the last one was of use
        assert trio.current_time() - before == pytest.approx(LEAST_PAUSE)
