"""What a connection asks of its exchange."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from farm.testing.connection import Connection

__all__ = ["Refusal", "Venue"]


@attrs.define
class Refusal:
    """An HTTP answer in place of a WebSocket."""

    status: int
    body: bytes = b""
    headers: list[tuple[bytes, bytes]] = attrs.Factory(list)


class Venue(Protocol):
    """What a connection asks of its exchange."""

    def refuse(self, connection: Connection, target: str) -> Refusal | None:
        """The answer to a handshake that gets no WebSocket; None accepts it."""

    def opened(self, connection: Connection, target: str) -> None:
        """The handshake is answered; subscribe what the address names."""

    def on_frame(self, connection: Connection) -> None:
        """Any frame arrived, control frames included."""

    def on_text(self, connection: Connection, text: str) -> None:
        """A whole text message arrived."""

    def leaves_ping(self, connection: Connection) -> bool:
        """Whether a client's ping gets no pong."""

    async def heartbeat(self, connection: Connection) -> None:
        """Runs beside the connection: pings, deadlines."""
