"""The shortest script that still fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs

from farm.testing.chaos.crashes import Crash
from farm.testing.chaos.plan import ChaosPlan
from farm.testing.chaos.run import run_chaos
from farm.testing.faults.kinds import Fault
from farm.testing.faults.script import FaultScript

__all__ = ["shortest", "shortest_plan"]

T = TypeVar("T")


def shortest(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """A part of `items`, in their order, that fails while nothing less of it does.

    Leaves out halves, then quarters and so on, as long as what is left fails. `fails` is asked
    about parts only; of `items` itself it is taken for granted.
    """
    left, parts = list(items), 2
    while left:
        size = max(1, -(-len(left) // parts))
        for start in range(0, len(left), size):
            rest = left[:start] + left[start + size :]
            if fails(rest):
                left, parts = rest, max(2, parts - 1)
                break
        else:
            if size == 1:
                return left
            parts = min(len(left), parts * 2)
    return left


def shortest_plan(plan: ChaosPlan) -> ChaosPlan:
    """The plan with the fewest faults and crashes of it that still fails."""
    steps: list[Fault | Crash] = [*plan.script, *plan.crashes]

    def with_steps(some: Sequence[Fault | Crash]) -> ChaosPlan:
        faults = [step for step in some if not isinstance(step, Crash)]
        crashes = tuple(step for step in some if isinstance(step, Crash))
        script = FaultScript(faults, seed=plan.script.seed)
        return attrs.evolve(plan, script=script, crashes=crashes)

    return with_steps(shortest(steps, lambda some: bool(run_chaos(with_steps(some)).violations)))
