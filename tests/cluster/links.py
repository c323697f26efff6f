"""The way from a shard's outlet to its parent, in memory, which can be held up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from farm.books.base import BookSync
from farm.bundle import Bundle
from farm.cluster.codec import decode_bundle
from farm.cluster.link import FrameKind, Link
from farm.cluster.mirror import BookNews, decode_news
from farm.cluster.outlet import Outlet
from farm.types import NumberMode

__all__ = ["Way"]


@attrs.define(eq=False)
class Way:
    """An outlet, and what comes of it to the parent: ``bundles``, and news of books, each of which
    `on_news` is called with."""

    book_of: Callable[[str], BookSync | None] = lambda _feed: None
    max_bytes: int = 10**9
    numbers: NumberMode = NumberMode.FLOAT
    on_news: Callable[[BookNews], None] = lambda _news: None
    bundles: list[Bundle] = attrs.field(factory=list)
    news: list[BookNews] = attrs.field(factory=list)
    outlet: Outlet = attrs.field(init=False)
    _goes: trio.Event = attrs.field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self.outlet = Outlet(self.book_of, self.max_bytes)
        self._goes.set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Outlet]:
        """Carry what the outlet takes; at the end let all of it come."""
        shard, parent = memory_stream_pair()
        pump = shard.send_stream.send_all_hook
        assert pump is not None

        async def carry() -> None:
            await self._goes.wait()
            await pump()

        shard.send_stream.send_all_hook = carry
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, shard)
            nursery.start_soon(self._receive, Link(parent))
            yield self.outlet
            self.outlet.mailbox.close()
            self._goes.set()

    def hold(self) -> None:
        """Let nothing through from now on."""
        self._goes = trio.Event()

    async def go_on(self) -> None:
        """Let through what waits, until all has come."""
        self._goes.set()
        await wait_all_tasks_blocked()

    async def _send(self, stream: trio.abc.Stream) -> None:
        await self.outlet.run(Link(stream))
        await stream.aclose()

    async def _receive(self, link: Link) -> None:
        while frames := await link.receive():
            for kind, payload in frames:
                if kind is FrameKind.BUNDLE:
                    self.bundles.append(decode_bundle(payload))
                    continue
                assert kind is FrameKind.BOOKS
                for news in decode_news(payload, self.numbers):
                    self.news.append(news)
                    self.on_news(news)
