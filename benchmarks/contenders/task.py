"""What a contender is to do; the standard library alone."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import Any

from benchmarks.machine import pin

__all__ = ["Task", "given_task"]


@dataclass
class Task:
    """Which trades come, and from where.

    ``ws`` and ``rest`` are addresses on this machine without a path, ``authority`` a PEM file to
    trust. ``parts``: the symbols of each connection. Of each symbol come ``of_each`` trades, their
    ids counted on from ``first_id`` through all symbols in their order; ``paced`` where they come
    one by one, and times are wanted. ``stamps`` is the file for these. ``options`` are the
    contender's own.
    """

    ws: str
    rest: str
    authority: str | None
    parts: list[list[str]]
    of_each: int
    first_id: int
    paced: bool
    stamps: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def symbols(self) -> list[str]:
        return [symbol for part in self.parts for symbol in part]

    @property
    def total(self) -> int:
        """Trades in all."""
        return self.of_each * len(self.symbols)

    @property
    def urls(self) -> list[str]:
        """An address for each connection that subscribes to the trades of its part."""
        names = ["/".join(f"{symbol.lower()}@trade" for symbol in part) for part in self.parts]
        return [f"{self.ws}/stream?streams={name}" for name in names]


def given_task() -> Task:
    """The task on the command line; the process is kept on the readers' core from here on."""
    pin(0)
    return Task(**json.loads(sys.argv[1]))
