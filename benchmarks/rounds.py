"""Rounds: every contender once in each, in an order shuffled anew."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Mapping

__all__ = ["in_rounds", "timed"]


def in_rounds(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each contender returns, a value for each round. What the machine does besides falls on
    all of them alike, and none always goes first."""
    values: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name in random.sample(list(contenders), len(contenders)):
            gc.collect()  # nobody pays for what another left behind
            values[name].append(contenders[name]())
    return values


def timed(work: Callable[[], object]) -> Callable[[], float]:
    """`work`, returning the seconds it took; with the garbage collector on, as in life."""

    def run() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return run
