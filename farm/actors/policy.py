"""When an actor is started again: weather backs off, crashes are counted, too many escalate."""

from __future__ import annotations

import random
from collections import deque
from enum import Enum

import attrs
from attrs.validators import ge, gt, instance_of

from farm.groups import leaves

__all__ = ["Escalation", "Policy", "Record", "Restart", "is_weather"]


class Restart(Enum):
    """Which ends of a run are followed by another run.

    PERMANENT: every one; returning counts as a crash does, so that a loop that returns at once
    escalates. TRANSIENT: errors alone; who returns has done its work. TEMPORARY: none.
    """

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class Escalation(Enum):
    """What becomes of an actor that crashes too often. RAISE: its supervisor ends, with an error.
    PARK: it rests until it is started again by hand, and the others go on."""

    RAISE = "raise"
    PARK = "park"


@attrs.frozen
class Policy:
    """How an actor is restarted. All times in seconds.

    Backoff doubles from ``backoff_initial`` to ``backoff_cap``, each pause drawn evenly between 0
    and that ("full jitter"); ``healthy_after`` of health resets it. More than ``intensity`` crashes
    within ``period`` escalate.

    ValueError for a time below zero, a ``period`` of none, and what is no number.
    """

    backoff_initial: float = attrs.field(default=0.5, validator=ge(0.0))
    backoff_cap: float = attrs.field(default=30.0, validator=ge(0.0))
    healthy_after: float = attrs.field(default=60.0, validator=ge(0.0))
    intensity: int = attrs.field(default=5, validator=[instance_of(int), ge(0)])
    period: float = attrs.field(default=60.0, validator=gt(0.0))
    escalation: Escalation = Escalation.RAISE
    restart: Restart = Restart.TRANSIENT


@attrs.define
class Record:
    """What counts of an actor's past. Pauses are drawn from ``rng``."""

    policy: Policy
    rng: random.Random
    _storms: int = 0  # failures by weather in a row, without sustained health between them
    _crashes: deque[float] = attrs.field(factory=deque)

    def weather(self, now: float, healthy_since: float | None) -> float:
        """A run ended by weather: the pause until the next."""
        self._note_health(now, healthy_since)
        self._storms += 1
        return self._pause(self._storms - 1)

    def crash(self, now: float, healthy_since: float | None) -> float | None:
        """A run crashed: the pause until the next, or None where there were too many. One crash is
        met at once: what caused it is most often gone."""
        self._note_health(now, healthy_since)
        crashes, policy = self._crashes, self.policy
        crashes.append(now)
        while crashes[0] <= now - policy.period:
            crashes.popleft()
        if len(crashes) > policy.intensity:
            return None
        return self._pause(len(crashes) - 2) if len(crashes) > 1 else 0.0

    def clear(self) -> None:
        """Begin anew."""
        self._storms = 0
        self._crashes.clear()

    def _note_health(self, now: float, since: float | None) -> None:
        if since is not None and now - since >= self.policy.healthy_after:
            self._storms = 0

    def _pause(self, failures: int) -> float:
        ceiling = self.policy.backoff_initial * 2.0 ** min(failures, 60)
        return self.rng.uniform(0.0, min(self.policy.backoff_cap, ceiling))


def is_weather(error: Exception, kinds: tuple[type[Exception], ...]) -> bool:
    """Whether `error`, or every leaf of it where it is a group, is of these kinds."""
    errors = leaves(error) if isinstance(error, ExceptionGroup) else [error]
    return all(isinstance(leaf, kinds) for leaf in errors)
