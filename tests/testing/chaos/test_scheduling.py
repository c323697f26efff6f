"""The order of ready tasks follows a seed."""

from __future__ import annotations

from typing import Any

import trio

from farm.testing.chaos.scheduling import seeded_scheduling


def order(seed: int) -> list[int]:
    """In which order twenty tasks took forty turns."""
    turns: list[int] = []

    async def task(number: int) -> None:
        for _ in range(2):
            turns.append(number)
            await trio.lowlevel.checkpoint()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(task, number)

    with seeded_scheduling(seed):
        trio.run(main)
    return turns


def test_a_seed_gives_the_same_order_again_and_others_give_others() -> None:
    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(10)}) == 10


def test_outside_of_it_everything_is_as_it_was() -> None:
    module: Any = trio._core._run
    state, switch = module._r.getstate(), module._ALLOW_DETERMINISTIC_SCHEDULING
    order(1)
    assert (module._r.getstate(), module._ALLOW_DETERMINISTIC_SCHEDULING) == (state, switch)
