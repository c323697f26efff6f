"""The bundle: all that one input of one connection gave, on its way down the line."""

from __future__ import annotations

from typing import Any

import attrs

from farm.batch import Batch, Origin
from farm.types import Nanoseconds

__all__ = ["Bundle", "UnparsedFrame"]


@attrs.frozen
class UnparsedFrame:
    """A frame that no core could use, kept as it came.

    ``kind`` is ``malformed``, or the venue's own name of a type that is unknown here; ``reason``
    says more.
    """

    origin: Origin
    time: Nanoseconds
    ordinal: int
    kind: str
    reason: str
    raw: bytes


@attrs.define(eq=False)
class Bundle:
    """Batches of several kinds from one read of one connection, at most one batch a kind.

    ``serial`` numbers the inputs of a connection, over all epochs: a receiver that has seen it
    discards the bundle as a redelivery. ``nbytes`` is the payload it came from, by which queues
    are bounded. What it tells of the connection itself, by feed (``binance/spot/BTCUSDT/book``):

    * ``up``: from here on the venue sends these (it said so, or they delivered);
    * ``ended``: why, where the epoch ended with this bundle. ``down`` are the feeds that nothing
      carries any more, None for all of the connection's; without ``ended`` they are feeds that were
      found dead on a connection that goes on;
    * ``asked``: the requests for the snapshots of these books were just sent;
    * ``dropped``: these feeds are collected no longer;
    * ``final``: nothing more will come from this connection;
    * ``heard``: its socket brought something. What a clock tells, or REST, is no sign of its life.
    """

    origin: Origin
    serial: int
    receive_time: Nanoseconds
    batches: list[Batch[Any]] = attrs.field(factory=list)
    unparsed: list[UnparsedFrame] = attrs.field(factory=list)
    ended: str | None = None
    nbytes: int = 0
    up: tuple[str, ...] = ()
    down: frozenset[str] | None = None
    asked: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    final: bool = False
    heard: bool = False
