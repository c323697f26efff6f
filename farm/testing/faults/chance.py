"""Faults chosen by a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs

from farm.testing.faults.kinds import (
    KINDS,
    ClockJump,
    Fault,
    RestFault,
    SequenceBreak,
    SnapshotTooOld,
    TlsFailure,
)

__all__ = ["random_faults"]

_STATUSES = (403, 418, 429, 503)
_SHORTEST = 0.25
# A fault that lasts takes at most this part of the script.
_LONGEST_PART = 0.15


def random_faults(
    seed: int | str,
    streams: Sequence[str],
    *,
    seconds: float,
    count: int,
    kinds: Iterable[str] | None,
    rest: bool,
    tls: bool,
    wall_clock: bool,
) -> list[Fault]:
    """What :meth:`~farm.testing.faults.script.FaultScript.random` says, in the order of time.

    Raises:
        ValueError: a word in `kinds` is no kind, or no kind is left.
    """
    rng = random.Random(f"faults:{seed}")
    wanted = set(KINDS if kinds is None else kinds)
    if unknown := sorted(wanted - set(KINDS)):
        raise ValueError(f"no such fault: {unknown[0]!r}")
    chance = _Chance(rng, streams, [name for name in streams if _is_book(name)], seconds)
    barred = {ClockJump: not wall_clock, TlsFailure: not tls, SnapshotTooOld: not rest}
    choice = [
        kind
        for word, kind in KINDS.items()
        if word in wanted
        and not barred.get(kind, False)
        and (rest or not issubclass(kind, RestFault))
        and chance.has_stream(kind)
    ]
    if not choice:
        raise ValueError("no kind of fault is left to choose from")
    return [chance.fault(rng.choice(choice), at) for at in chance.moments(count)]


def _is_book(stream: str) -> bool:
    """Whether a stream carries the diffs of a book."""
    _, found, speed = stream.partition("@depth")
    return stream.startswith("orderbook.") or (bool(found) and not speed[:1].isdigit())


@attrs.define
class _Chance:
    rng: random.Random
    streams: Sequence[str]
    books: Sequence[str]
    seconds: float

    def moments(self, count: int) -> list[float]:
        return sorted(round(self.rng.uniform(0, self.seconds), 3) for _ in range(count))

    def has_stream(self, kind: type[Fault]) -> bool:
        return "stream" not in attrs.fields_dict(kind) or bool(self._streams_for(kind))

    def fault(self, kind: type[Fault], at: float) -> Fault:
        values: dict[str, Any] = {"at": at}
        for field in attrs.fields(kind):
            if field.name == "stream":
                values["stream"] = self.rng.choice(self._streams_for(kind))
            elif field.name in self._choices:
                values[field.name] = self._choices[field.name](kind)
        return kind(**values)

    @property
    def _choices(self) -> dict[str, Callable[[type[Fault]], Any]]:
        """How an attribute is chosen; others keep their usual value."""
        return {
            "count": lambda _: self.rng.randint(1, 3),
            "by": lambda _: self.rng.randint(1, 5),
            "seconds": self._seconds,
            "how": lambda kind: self.rng.choice(_ways(kind)),
            "status": lambda _: self.rng.choice(_STATUSES),
            "code": lambda _: self.rng.choice((1000, 1001, 1011, 1012)),
            "retry_after": lambda _: self.rng.choice((None, 1, 5)),
        }

    def _streams_for(self, kind: type[Fault]) -> Sequence[str]:
        return self.books if kind is SequenceBreak else self.streams

    def _seconds(self, kind: type[Fault]) -> float:
        if kind is ClockJump:
            return round(self.rng.choice((-1, 1)) * 10 ** self.rng.uniform(-1, 4), 3)
        longest = max(_SHORTEST * 2, self.seconds * _LONGEST_PART)
        return round(self.rng.uniform(_SHORTEST, longest), 3)


def _ways(kind: type[Fault]) -> Sequence[str]:
    [validator] = [field.validator for field in attrs.fields(kind) if field.name == "how"]
    ways: Sequence[str] = validator.options
    return ways
