"""One restart loop per actor: weather backs off, crashes are counted, too many escalate.

*Weather* (the network, the venue's 24 h disconnect, a refused handshake) is expected. It backs off
with full jitter and never counts as a crash. The backoff is reset only by sustained health, not by
a connection that came about: a server that accepts and then closes must not be hammered.

*Crashes* are everything else that an actor raises. More than ``intensity`` of them in ``period``
seconds escalate: `raise` (a library's user must hear of it) or `park` (a daemon's other actors go
on, with an alarm).

Errors are judged by the leaves of their groups; a group that holds a cancellation is none.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Protocol

import attrs
import trio

from farm.errors import RestartsExceeded
from farm.groups import leaves

__all__ = ["Actor", "Escalation", "Health", "Lifecycle", "LifecycleEvent", "Policy", "Supervisor"]

log = logging.getLogger("farm.supervisor")


class Escalation(Enum):
    """What becomes of an actor that crashes too often."""

    RAISE = "raise"
    PARK = "park"


class Lifecycle(Enum):
    """What can happen to an actor."""

    STARTED = "started"
    HEALTHY = "healthy"
    WEATHER = "weather"
    CRASHED = "crashed"
    PARKED = "parked"
    STOPPED = "stopped"


@attrs.frozen
class LifecycleEvent:
    """Something that happened to an actor; ``delay`` is the pause before it is started again."""

    actor: str
    what: Lifecycle
    error: Exception | None = None
    delay: float = 0.0


@attrs.frozen
class Policy:
    """How an actor is restarted. All times in seconds.

    Backoff doubles from ``backoff_initial`` to ``backoff_cap``, each pause drawn evenly between 0
    and that ("full jitter"); ``healthy_after`` of health resets it.
    """

    backoff_initial: float = 0.5
    backoff_cap: float = 30.0
    healthy_after: float = 60.0
    intensity: int = 5
    period: float = 60.0
    escalation: Escalation = Escalation.RAISE


class Health:
    """Through which one run of an actor says that it does what it is for."""

    def __init__(self, on_ready: Callable[[], None]) -> None:
        self._on_ready = on_ready
        self.since: float | None = None

    def ready(self) -> None:
        """The actor is up and works, from now on."""
        if self.since is None:
            self.since = trio.current_time()
            self._on_ready()


class Actor(Protocol):
    """What can be supervised. A run ends by returning (its work is done) or by raising."""

    name: str

    async def run(self, health: Health) -> None: ...


class Supervisor:
    """Runs actors again and again, by one policy.

    `weather` are the errors that are expected; `on_event` hears of every change. Pauses are drawn
    from `rng`.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        weather: tuple[type[Exception], ...],
        on_event: Callable[[LifecycleEvent], None] = lambda _event: None,
        rng: random.Random | None = None,
    ) -> None:
        self._policy = policy
        self._weather = weather
        self._on_event = on_event
        self._rng = rng or random.Random()  # noqa: S311 (jitter, not a secret)

    async def run(self, actor: Actor) -> None:
        """Run `actor` until it returns. RestartsExceeded where crashes escalate by raising."""
        policy = self._policy
        storms = 0  # failures by weather in a row, without sustained health between them
        crashes: deque[float] = deque()
        while True:
            health = Health(lambda: self._tell(actor, Lifecycle.HEALTHY))
            self._tell(actor, Lifecycle.STARTED)
            try:
                await actor.run(health)
            except Exception as error:
                now = trio.current_time()
                if self._was_healthy(health, now):
                    storms = 0
                if self._is_weather(error):
                    delay = self._pause(storms)
                    storms += 1
                    log.warning("%s: %s; again in %.1f s", actor.name, error, delay)
                    self._tell(actor, Lifecycle.WEATHER, error, delay)
                else:
                    crashes.append(now)
                    while crashes[0] <= now - policy.period:
                        crashes.popleft()
                    if len(crashes) > policy.intensity:
                        await self._escalate(actor, error)
                    delay = self._pause(len(crashes) - 2) if len(crashes) > 1 else 0.0
                    log.error("%s crashed; it is started again", actor.name, exc_info=error)
                    self._tell(actor, Lifecycle.CRASHED, error, delay)
            else:
                self._tell(actor, Lifecycle.STOPPED)
                return
            await trio.sleep(delay)

    def _was_healthy(self, health: Health, now: float) -> bool:
        return health.since is not None and now - health.since >= self._policy.healthy_after

    def _is_weather(self, error: Exception) -> bool:
        errors = leaves(error) if isinstance(error, ExceptionGroup) else [error]
        return all(isinstance(leaf, self._weather) for leaf in errors)

    def _pause(self, failures: int) -> float:
        ceiling = self._policy.backoff_initial * 2.0 ** min(failures, 60)
        return self._rng.uniform(0.0, min(self._policy.backoff_cap, ceiling))

    async def _escalate(self, actor: Actor, error: Exception) -> None:
        policy = self._policy
        text = f"{actor.name} crashed more than {policy.intensity} times in {policy.period:g} s"
        self._tell(actor, Lifecycle.PARKED, error)
        if policy.escalation is Escalation.RAISE:
            raise RestartsExceeded(text) from error
        log.critical("%s: it is parked until the farm is started again", text, exc_info=error)
        await trio.sleep_forever()

    def _tell(
        self, actor: Actor, what: Lifecycle, error: Exception | None = None, delay: float = 0.0
    ) -> None:
        self._on_event(LifecycleEvent(actor.name, what, error, delay))
