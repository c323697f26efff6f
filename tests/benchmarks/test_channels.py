"""The benchmark of hops: that every item arrives, and that what is named handed off is that."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from benchmarks import channels
from benchmarks.channel_hops import (
    Hop,
    bundles,
    by_trio_channels,
    frames,
    to_aggregator,
    to_parser,
    to_subscriber,
    whole_line,
)
from benchmarks.channels import ASYNCIO, CALLED, HANDED, TRIO, WOKEN


def test_a_quick_run_has_every_way_in_both_paces_and_loses_nothing() -> None:
    report = channels.run(1, quick=True)
    names = [case.name for case in report.cases]
    assert len(names) == len(set(names)) == 8
    for case in report.cases:
        contenders = {figure.contender for figure in case.figures}
        wanted = {WOKEN, TRIO, ASYNCIO}
        if not case.name.startswith("hub"):
            wanted.add(HANDED)
        if "paced" in case.name:
            wanted.add(CALLED)
        assert contenders == wanted
        for figure in case.figures:
            assert figure.delivered == 1
            assert len(figure.values) == 1
            assert 0 < figure.median < math.inf
            assert figure.extra["ns an event"] == figure.median
        assert bool(case.goals) == (HANDED in contenders)


@pytest.mark.parametrize("paced", [False, True])
@pytest.mark.parametrize(
    ("hop", "make"),
    [
        (to_parser(True), frames),
        (to_parser(False), frames),
        (to_aggregator(True), bundles),
        (to_aggregator(False), bundles),
        (to_subscriber, bundles),
        (whole_line(True), frames),
        (whole_line(False), frames),
        (by_trio_channels(3, 7), frames),
    ],
)
def test_all_events_of_all_items_arrive(
    hop: Hop, make: Callable[[int, int], list[Any]], paced: bool
) -> None:
    done = channels.by_trio(hop, paced, make(50, 7))
    assert (done.items, done.events) == (50, 350)
    assert done.seconds > 0
    other = channels.by_asyncio(2, 7, paced, make(50, 7))
    assert (other.items, other.events) == (50, 350)


@pytest.mark.parametrize("hand_off", [True, False])
async def test_handed_off_it_is_done_when_put_returns_and_else_it_is_not(hand_off: bool) -> None:
    done: list[int] = []
    async with trio.open_nursery() as nursery:
        puts = [
            (to_parser(hand_off)(nursery, done.append), frames),
            (to_aggregator(hand_off)(nursery, done.append), bundles),
        ]
        await wait_all_tasks_blocked()
        for put, make in puts:
            done.clear()
            put(make(1, 3)[0])
            assert done == ([3] if hand_off else [])
            await wait_all_tasks_blocked()
            assert done == [3]
        nursery.cancel_scope.cancel()
