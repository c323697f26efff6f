"""The waterline: it says of nothing that it is through which is not, and rises all the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.cluster.waterline import Queue, Waterline
from tests.effort import runs


@attrs.define
class Counted:
    """A queue of the times at which things were received."""

    offered: int = 0
    passed: int = 0
    waiting: deque[int] = attrs.field(factory=deque)

    def put(self, time: int) -> None:
        self.offered += 1
        self.waiting.append(time)

    def take(self) -> int:
        self.passed += 1
        return self.waiting.popleft()


@attrs.define
class Stages:
    """Two lanes, a line and a store, one after the other; a clock that stands until it is set."""

    time: int = 0
    lanes: list[Counted] = attrs.field(factory=lambda: [Counted(), Counted()])
    line: Counted = attrs.field(factory=Counted)
    store: Counted = attrs.field(factory=Counted)
    waterline: Waterline = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.waterline = Waterline(self.stages, lambda: self.time)

    def stages(self) -> list[Sequence[Queue]]:
        return [self.lanes, [self.line], [self.store]]

    @property
    def queues(self) -> list[Counted]:
        return [*self.lanes, self.line, self.store]

    def receive(self, lane: int) -> None:
        self.lanes[lane].put(self.time)

    def move(self, place: int, *, drop: bool = False) -> None:
        """Have the oldest item of a queue go on, if there is one, or go."""
        queue = self.queues[place]
        if queue.waiting:
            time = queue.take()
            if not drop and place < 2:
                self.line.put(time)
            elif not drop and place == 2:
                self.store.put(time)

    def oldest(self) -> int | None:
        """When that was received of what waits anywhere which was first."""
        return min((time for queue in self.queues for time in queue.waiting), default=None)


STEPS = st.one_of(
    st.tuples(st.just("receive"), st.integers(0, 1)),
    st.tuples(st.just("move"), st.integers(0, 3)),
    st.tuples(st.just("drop"), st.integers(0, 3)),
    st.tuples(st.just("look"), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 3)),
)


@settings(max_examples=runs(300))
@given(st.lists(STEPS, min_size=20, max_size=80))
def test_what_was_received_until_then_is_in_no_queue(steps: list[tuple[str, int]]) -> None:
    """Whatever waits where, and however often one looks; and it never falls."""
    stages = Stages()
    before = stages.waterline.look()
    for what, number in steps:
        match what:
            case "receive":
                stages.receive(number)
            case "move" | "drop":
                stages.move(number, drop=what == "drop")
            case "look":
                said = stages.waterline.look()
                assert before <= said <= stages.time
                before = said
                oldest = stages.oldest()
                assert oldest is None or said <= oldest, stages
            case "wait":
                stages.time += number
    while stages.oldest() is not None:
        for place in range(4):
            stages.move(place)
    stages.time += 1
    stages.waterline.look()
    assert stages.waterline.look() == stages.time, "nothing waits anywhere"


def test_where_nothing_waits_it_is_now() -> None:
    stages = Stages()
    for time in (1, 2, 50):
        stages.time = time
        assert stages.waterline.look() == time


@settings(max_examples=runs(50))
@given(st.integers(1, 5), st.integers(1, 4), st.lists(st.integers(0, 1), min_size=1, max_size=7))
def test_it_rises_where_no_queue_is_ever_empty(depth: int, every: int, lanes: list[int]) -> None:
    """A busy shard always has something under way: each thing takes its time, and is through."""
    stages = Stages()
    for _ in range(depth):
        for queue in stages.queues:
            queue.put(0)
    said = []
    for turn in range(400):
        stages.time += 1
        for place in range(4):
            stages.move(place)
        for lane in {0, 1, lanes[turn % len(lanes)]}:
            stages.receive(lane)
        if lanes[turn % len(lanes)]:  # the line gives the store one for two
            stages.move(2)
        while len(stages.store.waiting) > depth:
            stages.move(3)
        while len(stages.line.waiting) > depth:
            stages.move(2)
        if not turn % every:
            assert all(queue.waiting for queue in (*stages.lanes, stages.line))
            said.append(stages.waterline.look())
            assert said[-1] <= (stages.oldest() or stages.time)
    assert said == sorted(said)
    assert stages.time - said[-1] <= 60 + 12 * every, "it is not far behind"


def test_a_queue_that_stands_still_holds_it() -> None:
    stages = Stages()
    stages.time = 5
    stages.receive(0)
    for time in range(6, 30):
        stages.time = time
        stages.receive(1)
        for place in (1, 2, 3):
            stages.move(place)
        assert stages.waterline.look() <= 5


def test_lines_that_are_gone_hold_nothing_and_new_ones_count() -> None:
    """The queues of a moment are those that things received until then can be in."""
    stages = Stages()
    stages.time = 1
    stages.receive(0)
    assert stages.waterline.look() <= 1
    stages.time = 2
    gone = stages.lanes.pop(0)
    gone.take()  # its rest was counted as dropped
    stages.lanes.append(Counted())
    stages.time = 3
    stages.lanes[-1].put(3)
    stages.waterline.look()
    stages.time = 4
    assert stages.waterline.look() <= 3
