"""The restart loop: weather, crashes, escalation, and what passes through."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from farm.actors.supervisor import (
    Escalation,
    Health,
    Lifecycle,
    LifecycleEvent,
    Policy,
    Supervisor,
)
from farm.errors import ConnectFailed, ConnectionLost, RestartsExceeded

Step = Exception | Callable[[Health], Awaitable[None]] | None


class Scripted:
    """An actor whose runs are scripted; each is an error to raise, or what to do."""

    name = "actor"

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.started: list[float] = []

    async def run(self, health: Health) -> None:
        self.started.append(trio.current_time())
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        if step is not None:
            await step(health)


class Extreme(random.Random):
    """Draws the greatest number, or the least."""

    def __init__(self, *, greatest: bool) -> None:
        super().__init__(0)
        self.greatest = greatest

    def uniform(self, a: float, b: float) -> float:
        return b if self.greatest else a


GREATEST, LEAST = Extreme(greatest=True), Extreme(greatest=False)


class Watched(Supervisor):
    """A supervisor of these tests, and what it told of."""

    def __init__(self, rng: random.Random | None = None, **policy: Any) -> None:
        self.events: list[LifecycleEvent] = []
        super().__init__(
            Policy(**policy),
            weather=(ConnectionLost,),
            on_event=self.events.append,
            rng=lambda _name: rng or random.Random(),
        )

    @property
    def told(self) -> list[str]:
        return [event.what.value for event in self.events]

    def delays(self, what: Lifecycle) -> list[float]:
        return [event.delay for event in self.events if event.what is what]


def lost(reason: str = "lost") -> ConnectionLost:
    return ConnectionLost(reason)


def lives(seconds: float, *, ready_after: float = 0.0, then: Exception | None = None) -> Step:
    """A run that becomes healthy, lives on for so long, and ends by weather."""

    async def run(health: Health) -> None:
        await trio.sleep(ready_after)
        health.ready()
        await trio.sleep(seconds)
        raise then or lost()

    return run


# Weather ---------------------------------------------------------------------------------------


async def test_backoff_doubles_to_the_cap(autojump_clock: MockClock) -> None:
    supervisor = Watched(GREATEST, backoff_initial=0.5, backoff_cap=30.0, intensity=0)
    actor = Scripted(*(lost() for _ in range(70)), None)
    await supervisor.run(actor)
    delays = supervisor.delays(Lifecycle.WEATHER)
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0] + [30.0] * 64
    started = [sum(delays[:run]) for run in range(71)]
    assert actor.started == pytest.approx(started)


async def test_jitter_is_full_and_the_rngs(autojump_clock: MockClock) -> None:
    supervisor = Watched(random.Random(7), backoff_initial=2.0, backoff_cap=8.0)
    await supervisor.run(Scripted(*(lost() for _ in range(200)), None))
    rng = random.Random(7)
    ceilings = [2.0, 4.0] + [8.0] * 198
    delays = supervisor.delays(Lifecycle.WEATHER)
    assert delays == [rng.uniform(0.0, ceiling) for ceiling in ceilings]
    assert min(delays) < 0.4
    assert max(delays) > 7.6


async def test_accept_then_close_does_not_reset_the_backoff(autojump_clock: MockClock) -> None:
    supervisor = Watched(GREATEST, backoff_initial=1.0, healthy_after=60.0)
    almost = [lives(59.9, ready_after=100.0), lives(0.0), lives(30.0), lives(59.9)]
    await supervisor.run(Scripted(*almost, None))
    assert supervisor.delays(Lifecycle.WEATHER) == [1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize("end", [lost(), ValueError("a crash")])
async def test_sustained_health_resets_the_backoff(
    autojump_clock: MockClock, end: Exception
) -> None:
    supervisor = Watched(GREATEST, backoff_initial=1.0, healthy_after=60.0)
    actor = Scripted(lost(), lost(), lives(60.0, then=end), lost(), None)
    await supervisor.run(actor)
    expected = [1.0, 2.0, 1.0, 2.0] if isinstance(end, ConnectionLost) else [1.0, 2.0, 1.0]
    assert supervisor.delays(Lifecycle.WEATHER) == expected


async def test_the_first_ready_counts(autojump_clock: MockClock) -> None:
    async def ready_often(health: Health) -> None:
        for _ in range(7):
            health.ready()
            await trio.sleep(10)
        raise lost()

    supervisor = Watched(GREATEST, backoff_initial=1.0, healthy_after=60.0)
    await supervisor.run(Scripted(lost(), ready_often, None))
    assert supervisor.delays(Lifecycle.WEATHER) == [1.0, 1.0]
    assert supervisor.told.count("healthy") == 1


# Crashes ---------------------------------------------------------------------------------------


async def test_crashes_count_within_a_sliding_period(autojump_clock: MockClock) -> None:
    def crash_after(seconds: float) -> Step:
        async def run(health: Health) -> None:
            await trio.sleep(seconds)
            raise ValueError

        return run

    supervisor = Watched(LEAST, intensity=2, period=10.0)
    await supervisor.run(Scripted(*(crash_after(5.0) for _ in range(50)), None))
    assert supervisor.told.count("crashed") == 50

    actor = Scripted(*(crash_after(4.9) for _ in range(3)))
    with pytest.raises(RestartsExceeded, match=r"actor crashed more than 2 times in 10 s"):
        await supervisor.run(actor)
    assert len(actor.started) == 3


async def test_weather_between_crashes_neither_counts_nor_resets(
    autojump_clock: MockClock,
) -> None:
    supervisor = Watched(LEAST, intensity=1, period=60.0)
    actor = Scripted(ValueError(), *(lost() for _ in range(20)), KeyError("the last"))
    with pytest.raises(RestartsExceeded) as caught:
        await supervisor.run(actor)
    assert isinstance(caught.value.__cause__, KeyError)


async def test_the_first_restart_is_at_once_and_then_crashes_back_off(
    autojump_clock: MockClock,
) -> None:
    supervisor = Watched(GREATEST, backoff_initial=0.5, backoff_cap=3.0)
    await supervisor.run(Scripted(*(ValueError() for _ in range(5)), None))
    assert supervisor.delays(Lifecycle.CRASHED) == [0.0, 0.5, 1.0, 2.0, 3.0]


async def test_a_parked_actor_leaves_the_others_alone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = Watched(intensity=0, escalation=Escalation.PARK)
    other_ran = False

    async def other() -> None:
        nonlocal other_ran
        await trio.sleep(1000)
        other_ran = True
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        nursery.start_soon(supervisor.run, Scripted(ValueError("boom")))
    assert other_ran
    assert supervisor.told == ["started", "parked"]
    [alarm] = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert "parked" in alarm.getMessage()
    assert alarm.exc_info is not None
    assert str(alarm.exc_info[1]) == "boom"


async def test_a_crash_loop_lets_other_tasks_run() -> None:
    supervisor = Watched(LEAST, intensity=300)
    turns = 0

    async def bystander() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(bystander)
        await supervisor.run(Scripted(*(ValueError() for _ in range(200)), None))
        nursery.cancel_scope.cancel()
    assert turns > 150


# Groups ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (ExceptionGroup("", [lost(), ConnectFailed("no")]), "weather"),
        (ExceptionGroup("", [ExceptionGroup("", [lost()]), lost()]), "weather"),
        (ExceptionGroup("", [lost(), ValueError()]), "crashed"),
        (ExceptionGroup("", [lost(), ExceptionGroup("", [lost(), ValueError()])]), "crashed"),
        (ConnectFailed("a kind of weather"), "weather"),
        (OSError("not named as weather"), "crashed"),
    ],
)
async def test_errors_are_judged_by_the_leaves(
    autojump_clock: MockClock, error: Exception, what: str
) -> None:
    supervisor = Watched()
    await supervisor.run(Scripted(error, None))
    assert supervisor.told == ["started", what, "restarted", "stopped"]
    assert supervisor.events[1].error is error


async def test_a_group_that_holds_a_cancellation_passes(autojump_clock: MockClock) -> None:
    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise lost("on the way out")

    async def run(health: Health) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            await trio.sleep_forever()

    supervisor = Watched()
    actor = Scripted(run)
    with pytest.raises(ExceptionGroup) as caught, trio.move_on_after(1):
        await supervisor.run(actor)
    assert caught.group_contains(ConnectionLost)
    assert supervisor.told == ["started"]
    assert len(actor.started) == 1


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("grouped", [False, True])
async def test_interrupts_pass(interrupt: type[BaseException], grouped: bool) -> None:
    async def run(health: Health) -> None:
        raise BaseExceptionGroup("", [interrupt(), lost()]) if grouped else interrupt()

    supervisor = Watched()
    with pytest.raises(BaseExceptionGroup if grouped else interrupt):
        await supervisor.run(Scripted(run))
    assert supervisor.told == ["started"]


# Ends ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "intensity", "steps"),
    [
        ("healthy", 5, [lives(1000)]),
        ("weather", 5, [lost()]),
        ("crashed", 5, [ValueError(), ValueError()]),
        ("parked", 0, [ValueError()]),
    ],
)
async def test_a_cancelled_supervisor_ends_at_once(
    autojump_clock: MockClock, last: str, intensity: int, steps: list[Step]
) -> None:
    supervisor = Watched(
        GREATEST, backoff_initial=30.0, intensity=intensity, escalation=Escalation.PARK
    )
    with trio.move_on_after(10) as scope:
        await supervisor.run(Scripted(*steps))
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(10)
    assert supervisor.told[-1] == last


async def test_events_tell_the_whole_story_in_order(autojump_clock: MockClock) -> None:
    weather, crash = lost(), ValueError()
    supervisor = Watched(GREATEST, backoff_initial=2.0)
    await supervisor.run(Scripted(lives(1.0, then=weather), crash, None))
    assert supervisor.events == [
        LifecycleEvent("actor", Lifecycle.STARTED, 0.0, 1),
        LifecycleEvent("actor", Lifecycle.HEALTHY, 0.0, 1),
        LifecycleEvent("actor", Lifecycle.WEATHER, 1.0, 1, weather, 2.0),
        LifecycleEvent("actor", Lifecycle.RESTARTED, 3.0, 2),
        LifecycleEvent("actor", Lifecycle.CRASHED, 3.0, 2, crash, 0.0),
        LifecycleEvent("actor", Lifecycle.RESTARTED, 3.0, 3),
        LifecycleEvent("actor", Lifecycle.STOPPED, 3.0, 3),
    ]
