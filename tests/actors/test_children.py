"""Actors as children of an open supervisor: start, stop, and what one does to the others."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from farm.actors import (
    Child,
    Escalation,
    Health,
    Lifecycle,
    LifecycleEvent,
    LifecycleLog,
    Policy,
    Restart,
    Supervisor,
    open_supervisor,
)
from farm.actors.child import LAST_PAUSE
from farm.errors import ConnectionLost, LocalProtocolError, RestartsExceeded
from tests.effort import moments

Life = Callable[[Health], Awaitable[None]]
PARK = Policy(escalation=Escalation.PARK, intensity=1, backoff_initial=1e-9)


@attrs.define
class Doing:
    """An actor that does the same in every run."""

    name: str
    life: Life

    async def run(self, health: Health) -> None:
        await self.life(health)


async def forever(health: Health) -> None:
    health.ready()
    await trio.sleep_forever()


def crashing(after: float = 0.0) -> Life:
    async def life(health: Health) -> None:
        health.ready()
        await trio.sleep(after)
        raise ValueError("boom")

    return life


def until(event: trio.Event, then: float = 0.0) -> Life:
    """Works until the event is set, and for so many seconds more."""

    async def life(health: Health) -> None:
        health.ready()
        await event.wait()
        await trio.sleep(then)

    return life


class Story:
    """Keeps what is told, by hand and by event."""

    def __init__(self) -> None:
        self.events: list[LifecycleEvent] = []

    def of(self, actor: str) -> list[str]:
        return [event.what.value for event in self.events if event.actor == actor]

    def order(self, what: Lifecycle) -> list[tuple[str, float]]:
        return [(event.actor, event.time) for event in self.events if event.what is what]

    @asynccontextmanager
    async def supervised(
        self, policy: Policy | None = None, **options: Any
    ) -> AsyncIterator[Supervisor]:
        async with open_supervisor(
            policy, weather=(ConnectionLost,), on_event=self.events.append, **options
        ) as supervisor:
            yield supervisor


async def supervise(
    supervised: AbstractAsyncContextManager[Supervisor],
    *actors: Doing | tuple[Doing, Callable[[], object]],
    error: BaseException | None = None,
) -> None:
    """Start these actors, some with their `stop`; then raise the error, or wait for one."""
    async with supervised as supervisor:
        for actor in actors:
            if isinstance(actor, Doing):
                await supervisor.start(actor)
            else:
                await supervisor.start(actor[0], stop=actor[1])
        if error is not None:
            raise error
        await trio.sleep_forever()


# Restart policies ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("restart", "error", "told"),
    [
        (Restart.TRANSIENT, None, ["started", "stopped"]),
        (Restart.TEMPORARY, None, ["started", "stopped"]),
        (Restart.TEMPORARY, ValueError("x"), ["started", "crashed", "stopped"]),
        (Restart.TEMPORARY, ConnectionLost("x"), ["started", "weather", "stopped"]),
    ],
)
async def test_what_is_not_started_again_is_gone(
    autojump_clock: MockClock, restart: Restart, error: Exception | None, told: list[str]
) -> None:
    async def life(health: Health) -> None:
        await trio.sleep(1)
        if error is not None:
            raise error

    story = Story()
    async with story.supervised(Policy(restart=restart)) as supervisor:
        child = supervisor.add(Doing("a", life))
        await child.wait()
        assert supervisor.children == {}
        assert child.ended
        assert child.finished is (error is None)
        supervisor.add(Doing("a", life))  # its name is free
    assert story.of("a")[: len(told)] == told
    assert story.events[len(told) - 1].error is error


async def test_a_permanent_actor_is_started_again_whatever_happens(
    autojump_clock: MockClock,
) -> None:
    ends: list[Exception | None] = [None, ValueError(), ConnectionLost("x"), None]

    async def life(health: Health) -> None:
        health.ready()
        await trio.sleep(100)
        if not ends:
            await trio.sleep_forever()
        if (error := ends.pop(0)) is not None:
            raise error

    story = Story()
    async with story.supervised(Policy(restart=Restart.PERMANENT)) as supervisor:
        child = supervisor.add(Doing("a", life))
        await trio.sleep(1000)
        assert child.runs == 5
        assert not child.finished
    ended = [what for what in story.of("a") if what not in ("started", "restarted", "healthy")]
    assert ended == ["returned", "crashed", "weather", "returned", "stopped"]
    assert [e.run for e in story.events if e.what is Lifecycle.RETURNED] == [1, 4]


async def test_a_permanent_actor_that_returns_at_once_escalates(
    autojump_clock: MockClock,
) -> None:
    async def life(health: Health) -> None:
        pass

    policy = Policy(restart=Restart.PERMANENT, intensity=3)
    story = Story()
    with pytest.raises(RestartsExceeded, match="a returned more than 3 times in 60 s") as caught:
        await supervise(story.supervised(policy), Doing("a", life))
    assert caught.value.__cause__ is None
    assert story.of("a").count("returned") == 3


async def test_a_permanent_actor_that_is_asked_to_end_may_return(
    autojump_clock: MockClock,
) -> None:
    event = trio.Event()
    async with Story().supervised(Policy(restart=Restart.PERMANENT)) as supervisor:
        child = supervisor.add(Doing("a", until(event)), stop=event.set)
        assert await child.ready()
        assert await child.stop()
        assert (child.runs, child.finished) == (1, True)


async def test_an_actor_may_have_a_policy_of_its_own(autojump_clock: MockClock) -> None:
    story = Story()
    async with story.supervised(PARK) as supervisor:
        first = supervisor.add(Doing("a", crashing()))
        second = supervisor.add(Doing("b", crashing()), policy=Policy(restart=Restart.TEMPORARY))
        await second.wait()
        await wait_for(first, Lifecycle.PARKED)
    assert story.of("a").count("crashed") == 1
    assert story.of("b").count("crashed") == 1


async def wait_for(child: Child, what: Lifecycle) -> None:
    with trio.fail_after(1000):
        while child.state is not what:  # noqa: ASYNC110
            await trio.sleep(0.1)


# Jitter ----------------------------------------------------------------------------------------


async def test_jitter_does_not_depend_on_who_else_draws(autojump_clock: MockClock) -> None:
    def rng(name: str) -> random.Random:
        return random.Random(f"seed:{name}")

    async def weather(health: Health) -> None:
        raise ConnectionLost("again")

    delays: list[list[float]] = []
    for names in (["a", "b", "c"], ["c", "a"], ["a"]):
        story = Story()
        async with story.supervised(rng=rng) as supervisor:
            for name in names:
                supervisor.add(Doing(name, weather))
            await trio.sleep(300)
        delays.append([e.delay for e in story.events if e.actor == "a" and e.delay][:10])
    assert delays[0] == delays[1] == delays[2]
    assert len(set(delays[0])) == 10


# Starting --------------------------------------------------------------------------------------


async def test_each_is_started_when_the_one_before_is_ready_or_ended_or_too_late(
    autojump_clock: MockClock,
) -> None:
    def ready_after(seconds: float) -> Life:
        async def life(health: Health) -> None:
            await trio.sleep(seconds)
            health.ready()
            await trio.sleep_forever()

        return life

    async def ends(health: Health) -> None:
        await trio.sleep(3)

    story = Story()
    async with story.supervised(PARK) as supervisor:
        await supervisor.start(Doing("ready", ready_after(5)))
        await supervisor.start(Doing("late", ready_after(500)), within=7)
        await supervisor.start(Doing("ends", ends))
        await supervisor.start(Doing("parked", crashing()))
        child = await supervisor.start(Doing("last", forever))
        assert child.state is Lifecycle.HEALTHY
    assert story.order(Lifecycle.STARTED) == [
        ("ready", 0.0),
        ("late", 5.0),
        ("ends", 12.0),
        ("parked", 15.0),
        ("last", 15.0),
    ]


async def test_ready_says_whether_it_is(autojump_clock: MockClock) -> None:
    async def never(health: Health) -> None:
        await trio.sleep_forever()

    async def gone(health: Health) -> None:
        await trio.sleep(1)

    async def comes_back(health: Health) -> None:
        if len(runs) < 3:
            runs.append(trio.current_time())
            raise ConnectionLost("not yet")
        health.ready()
        await trio.sleep_forever()

    runs: list[float] = []
    async with Story().supervised(PARK) as supervisor:
        assert await supervisor.add(Doing("a", forever)).ready()
        assert not await supervisor.add(Doing("b", never)).ready(within=2.0)
        assert not await supervisor.add(Doing("c", gone)).ready()
        assert await supervisor.add(Doing("e", comes_back)).ready()
        assert len(runs) == 3


# Stopping --------------------------------------------------------------------------------------


async def test_they_are_stopped_in_reverse_each_within_its_grace(
    autojump_clock: MockClock,
) -> None:
    events = {name: trio.Event() for name in "abcd"}
    story = Story()
    async with story.supervised() as supervisor:
        for name, takes, grace in [("a", 2, 5), ("b", 900, 7), ("c", 3, math.inf), ("d", 1, 0.5)]:
            life = until(events[name], takes)
            supervisor.add(Doing(name, life), stop=events[name].set, grace=grace)
        supervisor.add(Doing("e", forever))  # nobody can ask it: it is cancelled
        await trio.sleep(10)
    assert story.order(Lifecycle.STOPPED) == [
        ("e", 10.0),
        ("d", 10.5),
        ("c", 13.5),
        ("b", 20.5),
        ("a", 22.5),
    ]


async def test_together_they_have_their_grace_at_the_same_time(autojump_clock: MockClock) -> None:
    events = {name: trio.Event() for name in "abc"}
    story = Story()
    async with story.supervised(together=True) as supervisor:
        for name, takes in [("a", 3), ("b", 900), ("c", 1)]:
            life = until(events[name], takes)
            supervisor.add(Doing(name, life), stop=events[name].set, grace=5)
        await trio.sleep(10)
    assert story.order(Lifecycle.STOPPED) == [("c", 11.0), ("a", 13.0), ("b", 15.0)]


async def test_stop_says_whether_it_ended_by_itself(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    soon, late, other = trio.Event(), trio.Event(), trio.Event()
    async with Story().supervised() as supervisor:
        good = supervisor.add(Doing("good", until(soon, 1)), stop=soon.set)
        cut = supervisor.add(Doing("cut", until(late, 99)), stop=late.set, grace=lambda: 2.0)
        given = supervisor.add(Doing("given", until(other, 3)), stop=other.set, grace=1)
        await trio.sleep(1)
        assert await good.stop()
        assert not await cut.stop()
        assert trio.current_time() == 4.0
        assert await given.stop(grace=5)
        assert await given.stop()  # again does nothing
        assert dict(supervisor.children) == {}
    assert [record.getMessage() for record in caplog.records if "in time" in record.message] == [
        "cut did not end in time; it was cancelled"
    ]


async def test_a_crash_while_it_drains_is_met_as_ever(autojump_clock: MockClock) -> None:
    """What waits in its mailbox must not be lost for a crash after it was asked to end."""
    asked = trio.Event()
    work = [1, 2, 3]

    async def life(health: Health) -> None:
        health.ready()
        await asked.wait()
        while work:
            item = work.pop()
            if item == 2:
                raise ValueError("boom")

    story = Story()
    async with story.supervised() as supervisor:
        child = supervisor.add(Doing("a", life), stop=asked.set)
        assert await child.ready()
        assert await child.stop()
    assert story.of("a") == ["started", "healthy", "crashed", "restarted", "healthy", "stopped"]
    assert work == []


@pytest.mark.parametrize("grouped", [False, True])
async def test_an_error_out_of_its_clean_up_is_told_and_harms_nobody(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, grouped: bool
) -> None:
    async def untidy() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("could not close")

    async def life(health: Health) -> None:
        health.ready()
        if not grouped:
            await untidy()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(untidy)
            nursery.start_soon(trio.sleep_forever)

    story = Story()
    async with story.supervised() as supervisor:
        other = supervisor.add(Doing("other", forever))
        child = supervisor.add(Doing("untidy", life))
        await child.ready()
        assert not await child.stop()
        await trio.sleep(1)
        assert other.state is Lifecycle.HEALTHY
    assert story.of("untidy") == ["started", "healthy", "stopped"]
    (told,) = [e for e in story.events if e.actor == "untidy" and e.what is Lifecycle.STOPPED]
    error = told.error.exceptions[0] if isinstance(told.error, ExceptionGroup) else told.error
    assert isinstance(error, OSError)
    assert [r.exc_info[1] for r in caplog.records if r.exc_info] == [told.error]


async def test_a_stop_that_fails_is_told_and_the_actor_cancelled(
    autojump_clock: MockClock,
) -> None:
    def stop() -> None:
        raise KeyError("no such mailbox")

    story = Story()
    async with story.supervised() as supervisor:
        child = supervisor.add(Doing("a", forever), stop=stop, grace=1000)
        await child.ready()
        assert not await child.stop()
        assert trio.current_time() == 0.0
    assert isinstance(story.events[-1].error, KeyError)


async def test_who_waits_for_a_stop_may_give_up_and_it_ends_all_the_same(
    autojump_clock: MockClock,
) -> None:
    asked = trio.Event()
    async with Story().supervised() as supervisor:
        child = supervisor.add(Doing("a", until(asked, 99)), stop=asked.set, grace=5)
        await child.ready()
        with trio.move_on_after(1):
            await child.stop()
        assert not child.ended
        await child.wait()
        assert trio.current_time() == 5.0


async def test_in_a_pause_it_ends_when_its_grace_is_over(autojump_clock: MockClock) -> None:
    async def weather(health: Health) -> None:
        raise ConnectionLost("down")

    policy = Policy(backoff_initial=1e6, backoff_cap=1e6)
    async with Story().supervised(policy, rng=lambda _name: random.Random(1)) as supervisor:
        child = supervisor.add(Doing("a", weather), stop=lambda: None, grace=5)
        await wait_for(child, Lifecycle.WEATHER)
        before = trio.current_time()
        assert not await child.stop()
        assert trio.current_time() == before + 5


@pytest.mark.parametrize("error", [ConnectionLost("not yet"), ValueError("boom")])
async def test_asked_in_a_pause_it_is_tried_at_once_and_then_again_soon(
    autojump_clock: MockClock, error: Exception
) -> None:
    """What waits for it may just be possible again, and it has its grace and no more."""
    tries: list[float] = []

    async def life(health: Health) -> None:
        tries.append(trio.current_time())
        if len(tries) < 6:
            raise error

    policy = Policy(backoff_initial=1e6, backoff_cap=1e6, intensity=9)
    async with Story().supervised(policy, rng=lambda _name: random.Random(1)) as supervisor:
        child = supervisor.add(Doing("a", life), stop=lambda: None, grace=100)
        await trio.sleep(7)
        before = len(tries)
        assert before < 3
        assert await child.stop()
    again = [time - 7 for time in tries[before:]]
    assert again == [LAST_PAUSE * number for number in range(6 - before)]


# Adding, parking, restarting -------------------------------------------------------------------


async def test_names_are_unique_and_only_an_open_supervisor_takes_actors(
    autojump_clock: MockClock,
) -> None:
    async with Story().supervised() as supervisor:
        child = supervisor.add(Doing("a", forever))
        with pytest.raises(LocalProtocolError, match="there is an actor named 'a' already"):
            supervisor.add(Doing("a", forever))
        assert dict(supervisor.children) == {"a": child}
    for closed in (supervisor, Supervisor()):
        with pytest.raises(LocalProtocolError, match="a cannot be added: the supervisor is not"):
            closed.add(Doing("a", forever))


async def test_come_and_go_while_others_crash(autojump_clock: MockClock) -> None:
    """At random, for minutes: who is not stopped goes on, who is stopped is gone."""
    rng = random.Random(7)
    story = Story()
    policy = Policy(intensity=10_000, backoff_initial=0.1, backoff_cap=1.0)
    kept: dict[str, Child] = {}
    async with story.supervised(policy) as supervisor:
        steady = supervisor.add(Doing("steady", forever))
        for number in range(100):
            name = f"actor {number}"
            life = crashing(rng.random() * 20) if rng.random() < 0.7 else forever
            kept[name] = supervisor.add(Doing(name, life))
            if rng.random() < 0.5:
                gone = kept.pop(rng.choice(list(kept)))
                await gone.stop()
                assert gone.name not in supervisor.children
            await trio.sleep(rng.random() * 3)
        assert supervisor.children.keys() == {"steady", *kept}
        assert (steady.runs, steady.state) == (1, Lifecycle.HEALTHY)
    assert story.events[-1].what is Lifecycle.STOPPED
    assert {event.actor for event in story.events if event.what is Lifecycle.STOPPED} == {
        event.actor for event in story.events
    }


async def test_a_parked_actor_can_be_started_again_with_its_crashes_forgotten(
    autojump_clock: MockClock,
) -> None:
    broken = True

    async def life(health: Health) -> None:
        if broken:
            raise ValueError("boom")
        await forever(health)

    story = Story()
    async with story.supervised(PARK) as supervisor:
        child = supervisor.add(Doing("a", life))
        await wait_for(child, Lifecycle.PARKED)
        assert child.given_up
        child.restart()
        with trio.fail_after(10):
            while not (child.runs == 4 and child.state is Lifecycle.PARKED):  # noqa: ASYNC110
                await trio.sleep(0.1)
        broken = False
        child.restart()
        assert await child.ready()
        assert not child.given_up
        with pytest.raises(LocalProtocolError, match="a is not parked"):
            child.restart()
    crashes = [event.run for event in story.events if event.what is Lifecycle.CRASHED]
    assert crashes == [1, 3]


async def test_a_parked_actor_is_stopped_at_once_and_asked_all_the_same(
    autojump_clock: MockClock,
) -> None:
    asked = trio.Event()
    async with Story().supervised(PARK) as supervisor:
        child = supervisor.add(Doing("a", crashing()), stop=asked.set, grace=1000)
        await wait_for(child, Lifecycle.PARKED)
        before = trio.current_time()
        assert not await child.stop()
        assert trio.current_time() == before
        assert asked.is_set()
        assert child.given_up
        with pytest.raises(LocalProtocolError, match="a is not parked"):
            child.restart()


# Escalation and the end of the supervisor ------------------------------------------------------


async def test_who_crashes_too_often_ends_the_body_and_the_others_are_stopped_in_order(
    autojump_clock: MockClock,
) -> None:
    first, second = trio.Event(), trio.Event()
    story = Story()
    with pytest.raises(RestartsExceeded, match="bad crashed more than 2 times") as caught:
        await supervise(
            story.supervised(Policy(intensity=2, backoff_initial=1e-9)),
            (Doing("first", until(first, 2)), first.set),
            (Doing("second", until(second, 3)), second.set),
            Doing("bad", crashing(1.0)),
        )
    assert isinstance(caught.value.__cause__, ValueError)
    stopped = story.order(Lifecycle.STOPPED)
    assert [name for name, _ in stopped] == ["bad", "second", "first"]
    assert [time for _, time in stopped] == pytest.approx([3.0, 6.0, 8.0])


async def test_parked_actors_do_not_end_the_body(autojump_clock: MockClock) -> None:
    story = Story()
    async with story.supervised(PARK) as supervisor:
        supervisor.add(Doing("bad", crashing()))
        other = supervisor.add(Doing("other", forever))
        await trio.sleep(1000)
        assert other.state is Lifecycle.HEALTHY
        assert supervisor.children.keys() == {"bad", "other"}


@pytest.mark.parametrize("error", [KeyError("body"), ExceptionGroup("g", [KeyError(), OSError()])])
async def test_an_error_of_the_body_comes_out_as_it_is_when_all_have_ended(
    autojump_clock: MockClock, error: Exception
) -> None:
    asked = trio.Event()
    story = Story()
    with pytest.raises(type(error)) as caught:
        await supervise(story.supervised(), (Doing("a", until(asked, 4)), asked.set), error=error)
    if not isinstance(error, ExceptionGroup):  # a nursery makes groups anew
        assert caught.value is error
    assert story.order(Lifecycle.STOPPED) == [("a", 4.0)]


async def test_who_crashes_too_often_when_all_is_ending_hides_no_error(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    asked = trio.Event()

    async def late(health: Health) -> None:
        health.ready()
        await asked.wait()
        raise ValueError("while it drained")

    error, story = KeyError("body"), Story()
    with pytest.raises(KeyError) as caught:
        await supervise(
            story.supervised(Policy(intensity=0)), (Doing("a", late), asked.set), error=error
        )
    assert caught.value is error
    assert story.of("a")[-2:] == ["parked", "stopped"]
    assert "CRITICAL" in [record.levelname for record in caplog.records]


async def test_of_several_that_crash_too_often_the_first_is_raised(
    autojump_clock: MockClock,
) -> None:
    with pytest.raises(RestartsExceeded, match=r"^first "):
        await supervise(
            Story().supervised(Policy(intensity=0)),
            (Doing("second", crashing(1.0)), lambda: None),
            Doing("first", crashing(0.5)),
        )


async def test_a_body_that_fails_on_its_way_out_comes_out_with_what_ended_it(
    autojump_clock: MockClock,
) -> None:
    async def body() -> None:
        async with Story().supervised(Policy(intensity=0)) as supervisor:
            supervisor.add(Doing("a", crashing(1.0)))
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("body")

    with pytest.raises(ExceptionGroup) as caught:
        await body()
    assert [type(error) for error in caught.value.exceptions] == [KeyError, RestartsExceeded]


async def test_an_interrupt_lets_them_drain_and_a_second_one_does_not(
    autojump_clock: MockClock,
) -> None:
    asked = trio.Event()
    story = Story()
    with pytest.raises(KeyboardInterrupt):
        await supervise(
            story.supervised(),
            (Doing("a", until(asked, 4)), asked.set),
            error=KeyboardInterrupt(),
        )
    assert story.order(Lifecycle.STOPPED) == [("a", 4.0)]

    asked = trio.Event()
    with trio.move_on_after(5) as scope:
        await supervise(
            story.supervised(), (Doing("a", until(asked, 9)), asked.set), error=KeyError("first")
        )
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(4 + 5)


@pytest.mark.parametrize("together", [False, True])
async def test_cancelled_at_any_moment_it_ends_at_once_and_leaves_nothing_running(
    autojump_clock: MockClock, together: bool
) -> None:
    """While actors start, work, crash, wait, drain."""
    alive = 0

    def counted(life: Life) -> Life:
        async def run(health: Health) -> None:
            nonlocal alive
            alive += 1
            try:
                await life(health)
            finally:
                alive -= 1

        return run

    for moment in moments(200):
        events = [trio.Event() for _ in range(3)]
        begun = trio.current_time()
        with trio.move_on_after(moment * 0.1):
            async with Story().supervised(Policy(intensity=1000), together=together) as supervisor:
                for number, asked in enumerate(events):
                    await supervisor.start(
                        Doing(f"a{number}", counted(until(asked, 3))), stop=asked.set
                    )
                    supervisor.add(Doing(f"b{number}", counted(crashing(0.25))))
                    await trio.sleep(0.5)
                await trio.sleep(3)
        assert trio.current_time() - begun == pytest.approx(min(moment * 0.1, 13.5), abs=6.1)
        assert trio.current_time() - begun <= moment * 0.1 + 1e-6
        assert alive == 0
        assert dict(supervisor.children) == {}
        await trio.sleep_until(math.ceil(trio.current_time()))


# Events ----------------------------------------------------------------------------------------


async def test_events_are_a_stream_for_any_number_of_readers(autojump_clock: MockClock) -> None:
    def told(events: list[LifecycleEvent]) -> list[tuple[str, str, float, int]]:
        return [(e.actor, e.what.value, e.time, e.run) for e in events]

    seen: dict[str, list[LifecycleEvent]] = {"first": [], "second": []}

    async def read(supervisor: Supervisor, name: str) -> None:
        with supervisor.events() as events:
            seen[name] += [event async for event in events]

    async with trio.open_nursery() as nursery, open_supervisor() as supervisor:
        nursery.start_soon(read, supervisor, "first")
        nursery.start_soon(read, supervisor, "second")
        await wait_all_tasks_blocked()
        with supervisor.events(room=1) as slow:
            await supervisor.start(Doing("a", crashing(1.5)))
            await trio.sleep(2)
            assert (await anext(slow)).what is Lifecycle.HEALTHY
            assert slow.missed == 4
    assert (
        told(seen["first"])
        == told(seen["second"])
        == [
            ("a", "started", 0.0, 1),
            ("a", "healthy", 0.0, 1),
            ("a", "crashed", 1.5, 1),
            ("a", "restarted", 1.5, 2),
            ("a", "healthy", 1.5, 2),
            ("a", "stopped", 2.0, 2),
        ]
    )


async def test_a_log_may_be_shared_and_is_closed_by_who_made_it(
    autojump_clock: MockClock,
) -> None:
    log = LifecycleLog()
    with log.events() as events:
        async with open_supervisor(log=log) as outer:
            await outer.start(Doing("outer", forever))
            async with open_supervisor(log=log) as inner:
                await inner.start(Doing("inner", forever))
        log.close()
        told = [(event.actor, event.what.value) async for event in events]
    assert told == [
        ("outer", "started"),
        ("outer", "healthy"),
        ("inner", "started"),
        ("inner", "healthy"),
        ("inner", "stopped"),
        ("outer", "stopped"),
    ]


async def test_what_is_told_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "farm.supervisor")
    async with open_supervisor(PARK) as supervisor:
        child = supervisor.add(Doing("bad", crashing()))
        await wait_for(child, Lifecycle.PARKED)
    assert [record.levelname for record in caplog.records] == ["ERROR", "CRITICAL"]
