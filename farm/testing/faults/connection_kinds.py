"""Faults of connections and handshakes, and of the clock."""

from __future__ import annotations

from typing import Literal

import attrs
from attrs.validators import ge, in_, instance_of, le, optional

from farm.testing.faults.fault import COUNT, LENGTH, STATUS, Fault, finite, one_word

__all__ = [
    "AcceptThenClose",
    "ClockJump",
    "Close",
    "ConnectionFault",
    "HalfOpen",
    "NoAck",
    "NoPong",
    "Refuse",
    "Reject",
    "Reset",
    "Restart",
    "SlowReader",
    "Stall",
    "TlsFailure",
]


@attrs.frozen
class ConnectionFault(Fault):
    """Hits the WebSockets that stand at that moment."""

    connection: str | None = attrs.field(default=None, kw_only=True, validator=optional(one_word))


@attrs.frozen
class Reset(ConnectionFault):
    """A TCP reset; without a ``connection``, of REST connections too."""

    word = "reset"


@attrs.frozen
class HalfOpen(ConnectionFault):
    """From now on nothing is sent, read or answered, and nobody is told, whatever happens to the
    server later."""

    word = "half_open"


@attrs.frozen
class Stall(ConnectionFault):
    """For ``seconds`` nothing is sent, while the server reads on; then all that gathered."""

    word = "stall"

    seconds: float = attrs.field(kw_only=True, converter=float, validator=LENGTH)


@attrs.frozen
class SlowReader(ConnectionFault):
    """For ``seconds`` the server does not read, while it sends on."""

    word = "slow_reader"

    seconds: float = attrs.field(kw_only=True, converter=float, validator=LENGTH)


@attrs.frozen
class Close(ConnectionFault):
    """A clean close, with a ``code``."""

    word = "close"

    code: int = attrs.field(
        default=1001, kw_only=True, validator=(instance_of(int), ge(1000), le(4999))
    )


@attrs.frozen
class Refuse(Fault):
    """For ``seconds`` connecting is refused, of REST too; what stands goes on."""

    word = "refuse"

    seconds: float = attrs.field(kw_only=True, converter=float, validator=LENGTH)


@attrs.frozen
class Restart(Fault):
    """The server dies, and comes back after ``seconds``. Bybit's books begin anew then, with a
    snapshot whose ``u`` is 1 for the first who subscribes; Binance's ids go on."""

    word = "restart"

    seconds: float = attrs.field(default=1.0, kw_only=True, converter=float, validator=LENGTH)


@attrs.frozen
class Reject(Fault):
    """The next ``count`` handshakes of WebSockets are answered with a ``status``."""

    word = "reject"

    status: int = attrs.field(default=429, kw_only=True, validator=STATUS)
    count: int = attrs.field(default=1, kw_only=True, validator=COUNT)


@attrs.frozen
class AcceptThenClose(Fault):
    """The next ``count`` WebSockets are ended right after the handshake: ``close`` or ``reset``."""

    word = "accept_then_close"

    count: int = attrs.field(default=1, kw_only=True, validator=COUNT)
    how: Literal["close", "reset"] = attrs.field(
        default="close", kw_only=True, validator=in_(("close", "reset"))
    )


@attrs.frozen
class TlsFailure(Fault):
    """The next ``count`` TLS handshakes fail, of REST too: a certificate of a strange
    ``authority``, or ``garbage`` in place of TLS."""

    word = "tls_failure"

    count: int = attrs.field(default=1, kw_only=True, validator=COUNT)
    how: Literal["authority", "garbage"] = attrs.field(
        default="authority", kw_only=True, validator=in_(("authority", "garbage"))
    )


@attrs.frozen
class NoPong(Fault):
    """For ``seconds`` no ping is answered, WebSocket's or JSON."""

    word = "no_pong"

    seconds: float = attrs.field(kw_only=True, converter=float, validator=LENGTH)


@attrs.frozen
class NoAck(Fault):
    """The next ``count`` requests on WebSockets, pings aside, are done but not answered."""

    word = "no_ack"

    count: int = attrs.field(default=1, kw_only=True, validator=COUNT)


@attrs.frozen
class ClockJump(Fault):
    """The client's wall clock jumps by ``seconds``, below zero for backwards."""

    word = "clock_jump"

    seconds: float = attrs.field(kw_only=True, converter=float, validator=finite)
