"""The parser actor: a connection's inputs through its protocol core, bundles out."""

from __future__ import annotations

from collections.abc import Callable

from farm.actors.mailbox import Mailbox
from farm.actors.supervisor import Health
from farm.bundle import Bundle
from farm.exchanges.session import Input, Session

__all__ = ["ParserActor"]


class ParserActor:
    """Parses what one connection reads.

    `on_commands` is called after each input, to have what the core asks for executed, `on_end` at
    the end of the mailbox. ``sending``: what is on its way to `outbox` now, for who ends the actor
    in this: its input is processed, and can't be again. ``last_sent`` is what went before.
    """

    def __init__(
        self,
        name: str,
        session: Session,
        inbox: Mailbox[Input],
        outbox: Mailbox[Bundle],
        on_commands: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        self.name = name
        self._session = session
        self._inbox = inbox
        self._outbox = outbox
        self._on_commands = on_commands
        self._on_end = on_end
        self.sending: Bundle | None = None
        self.last_sent: Bundle | None = None

    async def run(self, health: Health) -> None:
        """Parse until the mailbox ends."""
        health.ready()
        with self._inbox.reader(self.name) as inbox:
            await inbox.serve(self._begin, self._finish)
        self._on_end()

    def _begin(self, item: Input) -> bool:
        """Parse an input, and send what it gave if there is room for that."""
        bundle = self._session.handle(item)
        self._on_commands()
        if bundle is None:
            return True
        self.sending = bundle
        if not self._outbox.offer(bundle):
            return False
        self.sending, self.last_sent = None, bundle
        return True

    async def _finish(self) -> None:
        bundle = self.sending
        assert bundle is not None
        await self._outbox.send(bundle)
        self.sending, self.last_sent = None, bundle
