"""One supervised actor: its restart loop, and what may be done to it from outside."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Protocol

import trio

from farm.actors.lifecycle import Health, Lifecycle, LifecycleEvent
from farm.actors.policy import Escalation, Record, Restart, is_weather
from farm.errors import LocalProtocolError, RestartsExceeded

__all__ = ["GRACE", "Actor", "Child"]

log = logging.getLogger("farm.supervisor")

GRACE = 10.0
"""Seconds in which an actor that was asked to end must have done so, unless told otherwise."""

LAST_PAUSE = 0.5
"""Seconds at most between two tries of an actor that was asked to end."""


class Actor(Protocol):
    """What can be supervised. A run ends by returning (its work is done) or by raising."""

    @property
    def name(self) -> str: ...

    async def run(self, health: Health) -> None: ...


class Child:
    """An actor under supervision; :meth:`Supervisor.add` makes it.

    ``state`` is what happened to it last, None while it is about to be started for the first time
    or by :meth:`restart`; ``runs`` is how often it was. ``finished``: it ended by itself, with
    nothing left to do. ``given_up``: it crashed too often.
    """

    def __init__(
        self,
        actor: Actor,
        record: Record,
        weather: tuple[type[Exception], ...],
        tell: Callable[[LifecycleEvent], None],
        stop: Callable[[], object] | None = None,
        grace: float | Callable[[], float] = GRACE,
    ) -> None:
        self.actor = actor
        self.name = actor.name
        self.state: Lifecycle | None = None
        self.runs = 0
        self.finished = False
        self.given_up = False
        self._record = record
        self._weather = weather
        self._on_event = tell
        self._stop = stop
        self._grace = grace
        self._asked = False
        self._asked_to_stop = trio.Event()
        self._last_words: Exception | None = None
        self._scope = trio.CancelScope()
        self._changed = trio.Event()
        self._resumed = trio.Event()
        self._ended = trio.Event()

    @property
    def ended(self) -> bool:
        """Whether it is gone for good."""
        return self._ended.is_set()

    # --------------------------------------------------------------------------- from the outside
    async def ready(self, within: float = math.inf) -> bool:
        """Wait until it works, at most `within` seconds; whether it does.

        False also where it has ended or is parked.
        """
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(within):
            while not (self.ended or self.state in (Lifecycle.HEALTHY, Lifecycle.PARKED)):
                await self._changed.wait()
        return self.state is Lifecycle.HEALTHY

    async def stop(self, grace: float | None = None) -> bool:
        """Ask it to end and wait until it has; whether it ended by itself.

        After its grace (or `grace` seconds) it is cancelled; at once where there is no way to ask
        it. Until then a crash is met as ever, so that what waits for it is not lost. An error out
        of its clean-up goes to the log and into the STOPPED event.
        """
        self.ask_to_stop(grace)
        await self._ended.wait()
        return self.finished

    def ask_to_stop(self, grace: float | None = None) -> None:
        """As :meth:`stop`, without waiting."""
        if self.ended:
            return
        if grace is None:
            grace = self._grace() if callable(self._grace) else self._grace
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + grace)
        if self._asked:
            return
        self._asked = True
        self._asked_to_stop.set()
        self._resumed.set()
        if self._stop is None:
            self._scope.cancel()
            return
        try:
            self._stop()
        except Exception as error:  # noqa: BLE001 (told with the end of the actor)
            self._last_words = error
            self._scope.cancel()

    async def wait(self) -> None:
        """Wait until it has ended, for whatever reason."""
        await self._ended.wait()

    def restart(self) -> None:
        """Start it again, its crashes forgotten. LocalProtocolError where it is not parked."""
        if self.state is not Lifecycle.PARKED or self.ended or self._asked:
            raise LocalProtocolError(f"{self.name} is not parked, so it can't be started again")
        self.state, self.given_up = None, False
        self._record.clear()
        self._resumed.set()

    def cut_off(self) -> None:
        """It was ended together with its supervisor: say so, for who reads events knows of neither
        a cancellation nor an interrupt."""
        self._tell_stopped()

    # ------------------------------------------------------------------------------------ the loop
    async def run(self) -> RestartsExceeded | None:
        """Run the actor until it has ended; the failure, where it is to be raised."""
        failure: RestartsExceeded | None = None
        try:
            with self._scope:
                failure = await self._live()
            self._tell_stopped()
        except Exception as error:
            if not self._scope.cancel_called:
                raise
            self._last_words = error
            self._tell_stopped()
        finally:
            self._ended.set()
            self._changed.set()
        return failure

    async def _live(self) -> RestartsExceeded | None:
        while True:
            self.runs += 1
            self._tell(Lifecycle.RESTARTED if self.runs > 1 else Lifecycle.STARTED)
            health = Health(partial(self._tell, Lifecycle.HEALTHY))
            error = await self._run_once(health)
            if self._is_the_end(error):
                return None
            delay = self._judge(error, health)
            if delay is not None:
                await self._rest(delay)
                continue
            failure = await self._give_up(error)
            if failure is not None or self._asked:
                return failure

    async def _rest(self, delay: float) -> None:
        """Wait before the next run. Asked to stop it has no time for that: what waits for it may
        just be possible again."""
        if self._asked:
            await trio.sleep(min(delay, LAST_PAUSE))
            return
        with trio.move_on_after(delay):
            await self._asked_to_stop.wait()

    async def _run_once(self, health: Health) -> Exception | None:
        try:
            await self.actor.run(health)
        except Exception as error:
            if self._scope.cancel_called:
                raise  # out of its clean-up
            return error
        return None

    def _is_the_end(self, error: Exception | None) -> bool:
        restart = self._record.policy.restart
        if error is None:
            self.finished = self._asked or restart is not Restart.PERMANENT
            return self.finished
        if restart is Restart.TEMPORARY:
            what = Lifecycle.WEATHER if is_weather(error, self._weather) else Lifecycle.CRASHED
            log.error("%s ended and is not started again", self.name, exc_info=error)
            self._tell(what, error)
            self._last_words = error
            return True
        return False

    def _judge(self, error: Exception | None, health: Health) -> float | None:
        """The pause before the next run; None where there were too many crashes."""
        now, name = trio.current_time(), self.name
        if error is not None and is_weather(error, self._weather):
            delay = self._record.weather(now, health.since)
            log.warning("%s: %s; again in %.1f s", name, error, delay)
            self._tell(Lifecycle.WEATHER, error, delay)
            return delay
        pause = self._record.crash(now, health.since)
        if pause is None:
            return None
        if error is None:
            log.error("%s returned, and is to run on; again in %.1f s", name, pause)
            self._tell(Lifecycle.RETURNED, None, pause)
        else:
            log.error("%s crashed; again in %.1f s", name, pause, exc_info=error)
            self._tell(Lifecycle.CRASHED, error, pause)
        return pause

    async def _give_up(self, error: Exception | None) -> RestartsExceeded | None:
        """Escalate: the error to be raised, or None once it was parked and is to go on."""
        policy = self._record.policy
        verb = "returned" if error is None else "crashed"
        text = f"{self.name} {verb} more than {policy.intensity} times in {policy.period:g} s"
        self.given_up = True
        self._resumed = trio.Event()  # who is told may start it again at once
        self._tell(Lifecycle.PARKED, error)
        if policy.escalation is Escalation.RAISE:
            log.critical("%s", text, exc_info=error)
            failure = RestartsExceeded(text)
            failure.__cause__ = error
            return failure
        log.critical("%s: it is parked until it is started again", text, exc_info=error)
        if not self._asked:
            await self._resumed.wait()
        return None

    # ------------------------------------------------------------------------------------- telling
    def _tell(self, what: Lifecycle, error: Exception | None = None, delay: float = 0.0) -> None:
        self.state = what
        changed, self._changed = self._changed, trio.Event()
        changed.set()
        now = trio.current_time()
        self._on_event(LifecycleEvent(self.name, what, now, self.runs, error, delay))

    def _tell_stopped(self) -> None:
        error = self._last_words
        if self._scope.cancelled_caught and self._stop is not None:
            log.warning("%s did not end in time; it was cancelled", self.name)
        if error is not None and self._asked:
            log.error("%s ended with an error when it was stopped", self.name, exc_info=error)
        self._tell(Lifecycle.STOPPED, error)
