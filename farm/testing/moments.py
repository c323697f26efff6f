"""Cancellation at every await of an operation, by injection.

An operation that is to survive a cancellation must survive it at each of its awaits, and a test
that cancels at a few moments meets the easy ones. Here it is run again and again, each time
cancelled one step of Trio's scheduler later::

    async def trial(moment: Moment) -> None:
        network = MemoryNetwork()
        async with serving(network), open_client(network) as client:
            with moment.cancels():
                await client.get("/depth")
            assert client.budget.waiting == 0
        assert network.streams_open == 0

    def test_a_cancelled_call_leaves_nothing() -> None:
        at_every_moment(trial)

Each attempt has a Trio and a virtual clock of its own, and tasks run in the same order each time:
so it must use neither sockets nor threads. A step of any task counts, that of a peer too, for what
a peer has done meanwhile is what makes one moment differ from another.
"""

from __future__ import annotations

import linecache
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any

import trio
import trio.testing

from farm.testing.chaos.scheduling import seeded_scheduling

__all__ = ["DidNotEnd", "Moment", "Trial", "at_every_moment"]

WITHIN = 60.0

Trial = Callable[["Moment"], Awaitable[None]]
"""Sets a world up, watches one block of it by its moment, and judges what is left afterwards."""


class DidNotEnd(AssertionError):
    """An attempt went on after its time; the message names the tasks and where each one waited."""


class Moment(trio.abc.Instrument):
    """One moment of an operation, and what happens at it.

    ``step`` is the number of steps after which it comes, None for never; ``steps`` is how many
    there have been within the watched block. ``came``: it has come, at Trio's time ``time``; and
    ``where`` says which task stood where then.
    """

    def __init__(self, step: int | None) -> None:
        self.step = step
        self.steps = 0
        self.came = False
        self.time = math.nan
        self.where = ""
        self.on_come: Callable[[], object] = lambda: None
        self._act: Callable[[], object] | None = None
        self._error: Exception | None = None

    @contextmanager
    def cancels(self) -> Iterator[trio.CancelScope]:
        """A cancel scope round the block, cancelled when the moment comes."""
        with trio.CancelScope() as scope, self.calls(scope.cancel):
            yield scope

    @contextmanager
    def calls(self, act: Callable[[], object]) -> Iterator[None]:
        """Have `act` called when the moment comes within this block: once, between two steps, where
        it must not wait. Its error comes out at the end of the block. One block for each attempt.
        """
        if self._act is not None:
            raise RuntimeError("a moment watches one block")
        self._act = act
        if self.step == 0:
            self._come("before the first step")
        trio.lowlevel.add_instrument(self)
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(self)
        if self._error is not None:
            raise self._error

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Trio has run a task up to where it waits next, or to its end."""
        self.steps += 1
        if self.steps == self.step:
            self._come(_place(task))

    def _come(self, where: str) -> None:
        assert self._act is not None
        self.came, self.time, self.where = True, trio.current_time(), where
        self.on_come()
        try:
            self._act()
        except Exception as error:  # noqa: BLE001 (Trio would only log it; raised by `calls`)
            self._error = error


def at_every_moment(
    trial: Trial,
    *,
    most: int | None = None,
    seeds: Iterable[int] = (0,),
    within: float = WITHIN,
) -> int:
    """Run `trial` undisturbed to learn how many moments it has, then once for each; how many.

    At most `most` moments are tried, spread evenly with both ends among them, for each of `seeds`,
    which choose the order of tasks. An attempt has `within` seconds of its virtual clock to end in,
    and as many again from its moment on.

    An error of an attempt comes out with a note of moment and seed. AssertionError for a task that
    is left, and for a trial that is not repeatable; DidNotEnd where one goes on too long.
    """
    tried = 0
    for seed in seeds:
        whole = _attempt(trial, Moment(None), seed, within)
        for step in _spread(whole.steps, most):
            _attempt(trial, Moment(step), seed, within)
            tried += 1
    return tried


def _spread(last: int, most: int | None) -> list[int]:
    """The numbers from 0 to `last`, or `most` of them."""
    count = last + 1 if most is None else max(2, min(most, last + 1))
    return [index * last // (count - 1) for index in range(count)] if last else [0]


def _attempt(trial: Trial, moment: Moment, seed: int, within: float) -> Moment:
    clock = trio.testing.MockClock(autojump_threshold=0)
    try:
        with seeded_scheduling(seed):
            trio.run(_run, trial, moment, within, clock=clock)
        if moment.step is not None and not moment.came:
            raise AssertionError(f"not repeatable: it had ended after {moment.steps} steps")
    except BaseException as error:
        when = "undisturbed" if moment.step is None else f"at moment {moment.step}"
        error.add_note(f"{when}, seed {seed}; {moment.where or 'it had not come'}")
        raise
    return moment


async def _run(trial: Trial, moment: Moment, within: float) -> None:
    before = _living()
    with trio.CancelScope() as whole:
        watch = _Watch(whole, within)
        moment.on_come = watch.extend
        trio.lowlevel.spawn_system_task(watch.run)
        await watch.started.wait()  # its steps are no moments
        try:
            await trial(moment)
        finally:
            watch.end()
    if watch.report:
        raise DidNotEnd(f"it has not ended within {within:g} s:\n{watch.report}")
    await watch.ended.wait()
    left = _living() - before
    assert not left, f"{len(left)} tasks are left: {sorted(task.name for task in left)}"


class _Watch:
    """Ends an attempt that does not end by itself, whatever it shields."""

    def __init__(self, whole: trio.CancelScope, within: float) -> None:
        self.report = ""
        self.started = trio.Event()
        self.ended = trio.Event()
        self._over = False
        self._whole = whole
        self._within = within
        self._scope = trio.CancelScope(deadline=trio.current_time() + within)

    def extend(self) -> None:
        self._scope.deadline = trio.current_time() + self._within

    def end(self) -> None:
        self._over = True
        self._scope.cancel()

    async def run(self) -> None:
        watch = trio.lowlevel.current_task()
        self.started.set()
        with self._scope:
            try:
                await trio.sleep_forever()
            finally:
                self.ended.set()
                if not self._over:
                    self._end_all(watch)

    def _end_all(self, watch: trio.lowlevel.Task) -> None:
        tasks = _living() - {watch}
        self.report = "\n".join(sorted(filter(None, map(_place, tasks))))
        self._whole.cancel()
        for task in tasks:
            _unshield(task)


def _unshield(task: trio.lowlevel.Task) -> None:
    """Let the cancellation through to this task: there is no public way to the scopes it is in."""
    status: Any = task._cancel_status  # noqa: SLF001
    while status is not None:
        status._scope.shield = False  # noqa: SLF001
        status = status._parent  # noqa: SLF001


def _living() -> set[trio.lowlevel.Task]:
    """All tasks of this run."""
    root = trio.lowlevel.current_root_task()
    found, new = set[trio.lowlevel.Task](), [root] if root is not None else []
    while new:
        task = new.pop()
        found.add(task)
        new += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


def _place(task: trio.lowlevel.Task) -> str:
    """Where a task stands: its innermost line outside of Trio; "" where there is none."""
    lines = [
        (frame.f_code.co_filename, number)
        for frame, number in task.iter_await_frames()
        if not f"{frame.f_globals.get('__name__')}.".startswith(("trio.", f"{__name__}."))
    ]
    if not lines:
        return f"{task.name} has ended"
    file, number = lines[-1]
    short = "/".join(PurePath(file).parts[-3:])
    return f"{task.name} at {short}:{number}: {linecache.getline(file, number).strip()}"
