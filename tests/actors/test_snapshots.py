"""Fetching snapshots: a real REST client over memory streams, on a mock clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import h11
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from farm.actors.snapshots import BACKOFF_CAP, SnapshotFetcher
from farm.exchanges.registry import rules_of
from farm.exchanges.session import FetchSnapshot
from farm.net.budget import Budget
from farm.net.rest import RestClient
from farm.types import Exchange, Market
from tests.effort import runs
from tests.net.test_rest import Answer, MemoryBackend, Server

RULES = rules_of(Exchange.BINANCE, Market.SPOT)


def request(symbol: str = "BTCUSDT", weight: int = 1) -> FetchSnapshot:
    stream = RULES.streams.stream(symbol, "book")
    return FetchSnapshot(1, stream, "/depth", (("symbol", symbol), ("limit", 5000)), weight)


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
    venue: Venue, *, parallel: int = 4, budget: Budget | None = None
) -> AsyncIterator[SnapshotFetcher]:
    backend = MemoryBackend(venue)
    async with trio.open_nursery() as nursery:
        backend.nursery = nursery
        async with RestClient(
            "http://farm.test",
            budget=budget or Budget(10_000, 60.0, "weight"),
            network_backend=backend,
        ) as client:
            yield SnapshotFetcher(client, parallel=parallel)
        nursery.cancel_scope.cancel()


def fails(times: int, status: int = 500) -> Callable[[int], Answer]:
    return lambda number: Answer(status) if number < times else Answer(body=b'{"book":1}')


async def test_the_body_comes_back(autojump_clock: MockClock) -> None:
    venue = Venue(fails(0))
    budget = Budget(100, 60.0, "weight")
    async with fetching(venue, budget=budget) as fetcher:
        assert await fetcher.fetch(request(weight=50)) == b'{"book":1}'
    assert venue.asked == [(0.0, "BTCUSDT")]
    assert budget.used == 50
    assert (fetcher.fetched, fetcher.failed) == (1, 0)


async def test_it_is_asked_again_with_backoff_until_it_comes(autojump_clock: MockClock) -> None:
    venue = Venue(fails(9))
    async with fetching(venue) as fetcher:
        assert await fetcher.fetch(request()) == b'{"book":1}'
    assert (fetcher.fetched, fetcher.failed) == (1, 9)
    for tries, pause in enumerate(venue.pauses):
        ceiling = min(BACKOFF_CAP, 2.0**tries)
        assert ceiling / 2 <= pause <= ceiling


async def test_a_server_that_cannot_be_reached_is_asked_again(autojump_clock: MockClock) -> None:
    venue = Venue(lambda number: Answer(body=b"{}", cut=number < 2))
    async with fetching(venue) as fetcher:
        assert await fetcher.fetch(request()) == b"{}"
    assert fetcher.failed == 2


async def test_a_rate_limit_pauses_all_books(autojump_clock: MockClock) -> None:
    busy = Answer(429, headers=[("Retry-After", "30")])
    venue = Venue(lambda number: Answer() if number else busy)
    async with fetching(venue) as fetcher, trio.open_nursery() as nursery:
        nursery.start_soon(fetcher.fetch, request("BTCUSDT"))
        await wait_all_tasks_blocked(0.01)
        nursery.start_soon(fetcher.fetch, request("ETHUSDT"))
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
            await fetcher.fetch(request(symbol))
        await trio.sleep(5)
        await fetcher.fetch(request("BTCUSDT"))
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
            nursery.start_soon(fetcher.fetch, request(f"S{number}"))
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
        for turn in range(runs(30)):
            with trio.move_on_after(turn * 0.13) as scope:
                await fetcher.fetch(request())
            assert scope.cancelled_caught
        hostile = False
        assert await fetcher.fetch(request()) == b"{}"
