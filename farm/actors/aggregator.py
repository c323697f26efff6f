"""The aggregator actor: keeps the books of a connection and publishes what is known."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from farm.actors.mailbox import Mailbox
from farm.actors.supervisor import Health
from farm.books.keeper import BookKeeper
from farm.bundle import Bundle
from farm.entities import Gap

__all__ = ["AggregatorActor"]


class AggregatorActor:
    """Takes the bundles of one parser, sets verdicts, and publishes them.

    `publish` is called once for each bundle, last; its receivers discard serials they have seen.
    `on_commands` has what the books ask for executed.
    """

    def __init__(
        self,
        name: str,
        keeper: BookKeeper,
        inbox: Mailbox[Bundle],
        publish: Callable[[Bundle], Awaitable[None]],
        on_commands: Callable[[], None],
    ) -> None:
        self.name = name
        self._keeper = keeper
        self._inbox = inbox
        self._publish = publish
        self._on_commands = on_commands
        self._last_serial = -1
        self._crash_gaps: list[Gap] = []  # not published yet

    async def run(self, health: Health) -> None:
        """Aggregate until the mailbox ends."""
        health.ready()
        inbox = self._inbox.reader()
        redelivered = inbox.redelivers
        async for bundle in inbox:
            if bundle.serial > self._last_serial:
                await self._process(bundle, redelivered)
                self._last_serial = bundle.serial
            redelivered = False

    async def _process(self, bundle: Bundle, redelivered: bool) -> None:
        if redelivered:  # it was half done when the keeper crashed
            self._crash_gaps += self._keeper.interrupted(bundle.receive_time)
        if self._crash_gaps:
            bundle = self._keeper.with_gaps(bundle, self._crash_gaps)
        bundle = self._keeper.take(bundle)
        self._on_commands()
        await self._publish(bundle)
        self._crash_gaps = []
