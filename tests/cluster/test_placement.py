"""Which line runs in which shard, and which is moved."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from farm.cluster.placement import (
    OVERLOAD,
    QUIET,
    ROOM,
    SMOOTHING,
    SUSTAINED,
    Move,
    Placement,
    shards_for,
)
from farm.cluster.rates import expected_load
from farm.exchanges.streams import Stream
from tests.effort import runs
from tests.exchanges.feeding import BINANCE_USDM


def streams(count: int = 1, spec: str = "trade") -> list[Stream]:
    return [BINANCE_USDM.streams.stream(f"S{n}", spec) for n in range(count)]


TRADE = expected_load(streams())


def placement_on(*shards: int) -> Placement:
    placement = Placement()
    for shard in shards:
        placement.add_shard(shard)
    return placement


@attrs.define
class Model:
    """Shards whose lines take what `demands` says, and which report it once a second: no more than
    a core each, and events in proportion. Moves take two seconds, and are kept in `moves`."""

    placement: Placement
    demands: Mapping[str, float]
    now: float = 0.0
    moves: list[tuple[float, Move]] = attrs.field(factory=list)

    @classmethod
    def of(cls, *shards: Mapping[str, float]) -> Model:
        """The lines of each shard from 1 on, with what they take."""
        placement = placement_on(*range(1, len(shards) + 1))
        for shard, lines in enumerate(shards, 1):
            for line in lines:
                placement.place(line, streams(), on=shard)
        return cls(placement, {line: load for lines in shards for line, load in lines.items()})

    def demand(self, shard: int) -> float:
        return sum(self.demands[line] for line in self.placement.lines(shard))

    def report(self) -> None:
        """All shards report, a second later."""
        self.now += 1.0
        for shard in self.placement.shards:
            events = {line: self.demands[line] * 1e4 for line in self.placement.lines(shard)}
            self.placement.note(shard, self.now, min(1.0, self.demand(shard)), events)

    def settle(self, seconds: float = SUSTAINED) -> None:
        """Reports, first and last `seconds` apart; nothing moves."""
        for _ in range(round(seconds) + 1):
            self.report()

    def run(self, seconds: int) -> None:
        begun = 0.0
        for _ in range(seconds):
            self.report()
            if self.placement.under_way is not None:
                if self.now - begun >= 2.0:
                    self.placement.moved(self.now)
            elif (move := self.placement.next_move(self.now)) is not None:
                begun = self.now
                self.moves.append((begun, move))


# ------------------------------------------------------------------------------------------ placing
def test_never_more_shards_than_lines() -> None:
    assert [shards_for(lines, 4) for lines in (0, 1, 3, 4, 400)] == [0, 1, 3, 4, 4]
    assert shards_for(10, 1) == 1


def test_a_line_goes_to_the_shard_with_the_least_load() -> None:
    placement = placement_on(1, 2, 3)
    counts = {"a": 5, "b": 3, "c": 1, "d": 1, "e": 2}
    placed = {line: placement.place(line, streams(count)) for line, count in counts.items()}
    assert placed == {"a": 1, "b": 2, "c": 3, "d": 3, "e": 3}
    assert placement.load(3) == pytest.approx(4 * TRADE)
    assert placement.lines(3) == ["e", "c", "d"]
    assert placement.shard_of("e") == 3


def test_among_equals_the_fewest_lines_and_then_the_lowest_number_decide() -> None:
    placement = placement_on(7, 2)
    assert placement.shards == [2, 7]
    assert placement.place("a", streams()) == 2
    assert placement.place("b", streams()) == 7
    for line in "cdef":  # they carry nothing yet
        placement.place(line, [])
    assert placement.lines(2) == ["a", "c", "e"]
    assert placement.lines(7) == ["b", "d", "f"]


def test_a_line_goes_where_it_is_told_to() -> None:
    placement = placement_on(1, 2)
    assert placement.place("a", streams(9), on=2) == 2
    assert placement.place("b", streams(), on=2) == 2
    with pytest.raises(LookupError, match="no shard 3"):
        placement.place("c", streams(), on=3)
    with pytest.raises(LookupError, match="no line 'c'"):
        placement.shard_of("c")


@given(st.lists(st.integers(1, 200), min_size=1, max_size=40), st.integers(1, 8))
def test_no_placement_is_worse_than_twice_the_best(counts: list[int], shards: int) -> None:
    placement = placement_on(*range(shards))
    for number, count in enumerate(counts):
        placement.place(f"line {number}", streams(count))
    best = max(sum(counts) / shards, max(counts)) * TRADE  # none can be better
    assert max(map(placement.load, placement.shards)) <= 2 * best * (1 + 1e-9)


def test_the_lines_of_a_lost_shard_are_placed_again_the_heaviest_first() -> None:
    placement = placement_on(1, 2, 3)
    for line, count, shard in [("a", 1, 1), ("b", 5, 1), ("c", 3, 1), ("d", 4, 2), ("e", 6, 3)]:
        placement.place(line, streams(count), on=shard)
    assert placement.remove_shard(1) == ["b", "c", "a"]
    assert placement.shards == [2, 3]
    assert placement.shard_of("b") is None
    assert [placement.place(line, streams(count)) for line, count in [("b", 5), ("c", 3)]] == [2, 3]
    assert placement.shard_of("a") is None
    placement.forget("a")
    with pytest.raises(LookupError):
        placement.shard_of("a")


def test_without_shards_nothing_is_placed() -> None:
    placement = Placement()
    with pytest.raises(LookupError, match="no shard for line 'a'"):
        placement.place("a", streams())
    placement.add_shard(1)
    assert placement.place("a", streams()) == 1
    placement.remove_shard(1)
    with pytest.raises(LookupError, match="no shard for line 'a'"):
        placement.place("a", streams())
    assert placement.next_move(0.0) is None


def test_what_is_not_known_is_an_error() -> None:
    placement = placement_on(1)
    placement.place("a", streams())
    with pytest.raises(ValueError, match="line 'a' is on shard 1 already"):
        placement.place("a", streams())
    with pytest.raises(ValueError, match="shard 1 is there already"):
        placement.add_shard(1)
    for ask in (placement.lines, placement.load, placement.remove_shard):
        with pytest.raises(LookupError, match="there is no shard 2"):
            ask(2)
    with pytest.raises(LookupError, match="there is no shard 2"):
        placement.note(2, 0.0, 0.1, {})
    for tell in (placement.shard_of, placement.forget):
        with pytest.raises(LookupError, match="there is no line 'b'"):
            tell("b")
    with pytest.raises(LookupError, match="there is no line 'b'"):
        placement.carry("b", streams())
    for end in (placement.moved, placement.stayed):
        with pytest.raises(LookupError, match="no move is under way"):
            end(0.0)


# ----------------------------------------------------------------------------------------- learning
def test_the_cpu_is_shared_out_by_events() -> None:
    model = Model.of({"a": 0.1, "b": 0.3}, {"c": 0.2})
    model.settle(20 * SMOOTHING)
    assert model.placement.load(1) == pytest.approx(0.4)
    assert model.placement.load(2) == pytest.approx(0.2)
    assert model.placement.lines(1) == ["b", "a"]
    model.placement.forget("a")
    assert model.placement.load(1) == pytest.approx(0.3)


def test_an_event_counts_for_what_its_kind_is_expected_to_cost() -> None:
    placement = placement_on(1)
    placement.place("trades", streams())
    placement.place("books", streams(spec="book"))
    for second in range(200):
        placement.note(1, second, 0.48, {"trades": 100.0, "books": 100.0})
    placement.forget("books")
    assert placement.load(1) == pytest.approx(0.48 * 110 / (110 + 130))


def test_reports_are_averaged_over_the_time_between_them() -> None:
    often, seldom = placement_on(1), placement_on(1)
    for placement, step in [(often, 1), (seldom, 5)]:
        placement.place("a", streams())
        for second in range(0, 111, step):
            placement.note(1, second, 0.2 if second <= 100 else 0.5, {"a": 10.0})
    assert often.load(1) == pytest.approx(seldom.load(1))
    assert 0.4 < often.load(1) < 0.5


def test_the_expected_load_has_no_part_in_the_learned_one() -> None:
    placement = placement_on(1)
    placement.place("a", streams(2000))
    for _ in range(2):
        placement.note(1, 0.0, 0.9, {"a": 1.0})
    placement.note(1, 1.0, 0.1, {"a": 10.0})
    assert placement.load(1) == pytest.approx(0.1)
    placement.note(1, 1.0, 0.9, {"a": 10.0})  # no time has passed
    assert placement.load(1) == pytest.approx(0.1)


def test_a_line_keeps_its_expected_load_until_it_says_something() -> None:
    placement = placement_on(1, 2)
    placement.place("a", streams(100))
    for second in range(60):
        placement.note(1, second, 0.5, {"a": 0.0})
    assert placement.load(1) == pytest.approx(100 * TRADE)
    placement.note(1, 60.0, 0.5, {"a": 1.0})
    assert placement.load(1) > 100 * TRADE
    for second in range(61, 200):
        placement.note(1, second, 0.01, {"a": 0.0})  # quiet, where it was heard
    assert placement.load(1) < TRADE


def test_the_first_report_of_a_shard_tells_of_its_start_alone() -> None:
    placement = placement_on(1)
    placement.place("a", streams())
    placement.note(1, 100.0, 1.0, {"a": 5.0})
    assert placement.load(1) == pytest.approx(TRADE)


def test_what_was_learned_outlives_the_shard() -> None:
    model = Model.of({"a": 0.2, "b": 0.4}, {})
    model.settle(20 * SMOOTHING)
    assert model.placement.remove_shard(1) == ["b", "a"]
    assert model.placement.place("b", streams()) == 2
    assert model.placement.load(2) == pytest.approx(0.4)


def test_a_learned_load_grows_and_shrinks_with_the_streams() -> None:
    model = Model.of({"a": 0.2})
    model.settle(20 * SMOOTHING)
    model.placement.carry("a", streams(3))
    assert model.placement.load(1) == pytest.approx(0.6)
    model.placement.carry("a", streams(2))
    assert model.placement.load(1) == pytest.approx(0.4)
    model.placement.carry("a", [])
    assert model.placement.load(1) == 0.0
    model.placement.carry("a", streams(2))
    assert model.placement.load(1) == pytest.approx(2 * TRADE)


def test_lines_that_are_elsewhere_have_a_share_and_unknown_ones_none() -> None:
    placement = placement_on(1, 2)
    placement.place("a", streams(), on=1)
    placement.place("coming", streams(), on=2)
    for second in range(200):
        placement.note(1, second, 0.6, {"a": 10.0, "coming": 20.0, "closed": 30.0})
    assert placement.load(1) == pytest.approx(0.2)
    assert placement.load(2) == pytest.approx(TRADE)


# ------------------------------------------------------------------------------------------- moving
def test_the_line_moves_that_leaves_the_greater_load_smallest() -> None:
    model = Model.of({"a": 0.5, "b": 0.3, "c": 0.15}, {"d": 0.2}, {"e": 0.3})
    model.settle()
    # To 2: "a" would leave 0.7 there, "b" 0.65 and 0.5, "c" 0.8 here.
    assert model.placement.next_move(model.now) == Move("b", 1, 2)
    assert model.placement.under_way == Move("b", 1, 2)
    assert model.placement.shard_of("b") == 1
    model.placement.moved(model.now)
    assert model.placement.under_way is None
    assert model.placement.shard_of("b") == 2
    assert model.placement.lines(2) == ["b", "d"]


def test_only_what_is_sustained_is_relieved() -> None:
    model = Model.of({"a": 0.5, "b": 0.4}, {})
    for seconds in (SUSTAINED - 1, SUSTAINED - 1):
        model.settle(seconds)
        assert model.placement.next_move(model.now) is None
        model.now += 1.0  # one report that is not above it
        model.placement.note(1, model.now, OVERLOAD, {"a": 1.0, "b": 1.0})
    model.settle(SUSTAINED)
    assert model.placement.next_move(model.now) is not None


def test_a_shard_that_stopped_reporting_is_not_relieved() -> None:
    model = Model.of({"a": 0.5, "b": 0.4}, {})
    model.settle(SUSTAINED - 1)
    assert model.placement.next_move(model.now + 1000.0) is None


@pytest.mark.parametrize(
    ("shards", "why"),
    [
        ([{"a": 0.95}, {}], "a line alone"),
        ([{"a": 0.5, "b": 0.45}], "no other shard"),
        ([{"a": 0.5, "b": 0.45}, {"c": 0.2}], "no room"),
        ([{"a": 0.5, "b": 0.35}, {}], "not above"),
        ([{"a": 0.5, "b": 0.45}, {"c": 0.9}], "as loaded itself"),
    ],
)
def test_nothing_moves(shards: list[dict[str, float]], why: str) -> None:
    model = Model.of(*shards)
    model.run(60)
    assert model.moves == [], why


def test_a_move_leaves_its_target_below_the_room() -> None:
    model = Model.of({"a": 0.45, "b": 0.45}, {"c": ROOM - 0.45 - 0.01})
    model.run(60)
    assert [move for _, move in model.moves] == [Move("a", 1, 2)]
    assert model.demand(2) < ROOM


def test_nothing_moves_to_a_shard_that_is_busy_with_what_no_line_tells_of() -> None:
    model = Model.of({"a": 0.5, "b": 0.4}, {}, {"c": 0.05})
    for _ in range(round(SUSTAINED) + 1):
        model.report()
        model.placement.note(2, model.now, 0.9, {})
    assert model.placement.next_move(model.now) == Move("b", 1, 3)


def test_what_a_target_took_during_a_move_is_no_reason_for_another() -> None:
    model = Model.of({"a": 0.5, "b": 0.4}, {"c": 0.15}, {"d": 0.1})
    model.settle()
    assert model.placement.next_move(model.now) == Move("b", 1, 3)
    for _ in range(round(SUSTAINED) + 1):
        model.now += 1.0
        model.placement.note(1, model.now, 0.5, {"a": 1.0})
        model.placement.note(3, model.now, 0.9, {"b": 4.0, "d": 1.0})
    model.placement.moved(model.now)
    assert model.placement.next_move(model.now) is None
    model.settle()
    assert model.placement.next_move(model.now) is None


def test_a_line_that_has_said_nothing_stays() -> None:
    placement = placement_on(1, 2)
    for line in ("a", "b"):
        placement.place(line, streams(), on=1)
    for second in range(30):
        placement.note(1, second, 0.95, {"a": 0.0, "b": 0.0})
    assert placement.next_move(30.0) is None


def test_one_move_is_under_way_at_most_and_the_next_waits_for_new_reports() -> None:
    model = Model.of(dict.fromkeys("abcd", 0.3), {}, {})
    model.settle()
    first = model.placement.next_move(model.now)
    assert first is not None
    model.settle()
    assert model.placement.next_move(model.now) is None
    model.placement.moved(model.now)
    assert model.placement.next_move(model.now) is None
    model.settle(SUSTAINED - 1)
    assert model.placement.next_move(model.now) is None
    model.report()
    second = model.placement.next_move(model.now)
    assert second is not None
    assert (first.target, second.target) == (2, 3)
    assert first.line != second.line


def test_a_line_that_could_not_move_stays_quiet_for_a_while() -> None:
    model = Model.of({"a": 0.5, "b": 0.4}, {"c": 0.15})
    model.settle()
    assert model.placement.next_move(model.now) == Move("b", 1, 2)
    model.settle(50)  # it took its time
    model.placement.stayed(model.now)
    failed = model.now
    assert model.placement.shard_of("b") == 1
    model.settle(QUIET - 2)
    assert model.now < failed + QUIET
    assert model.placement.next_move(model.now) is None  # "a" does not fit
    model.report()
    assert model.placement.next_move(model.now) == Move("b", 1, 2)


def test_after_a_failed_move_another_line_is_tried() -> None:
    model = Model.of({"a": 0.5, "b": 0.4}, {})
    model.settle()
    assert model.placement.next_move(model.now) == Move("a", 1, 2)
    model.placement.stayed(model.now)
    model.settle()
    assert model.placement.next_move(model.now) == Move("b", 1, 2)


def test_a_move_is_over_when_its_source_is_lost() -> None:
    model = Model.of({"a": 0.5, "b": 0.4}, {}, {"c": 0.3})
    model.settle()
    move = model.placement.next_move(model.now)
    assert move == Move("a", 1, 2)
    assert model.placement.remove_shard(1) == ["a", "b"]
    assert model.placement.under_way is None
    assert model.placement.place("a", streams(), on=move.target) == 2
    assert model.placement.shard_of("b") is None


def test_a_move_is_over_when_its_target_is_lost_and_its_line_stays_for_now() -> None:
    model = Model.of({"a": 0.5, "b": 0.25, "c": 0.15}, {}, {})
    model.settle()
    assert model.placement.next_move(model.now) == Move("a", 1, 2)
    assert model.placement.remove_shard(2) == []
    assert model.placement.under_way is None
    assert model.placement.shard_of("a") == 1
    assert model.placement.next_move(model.now) == Move("b", 1, 3)


def test_a_move_is_over_when_its_line_is_closed() -> None:
    model = Model.of({"a": 0.5, "b": 0.4}, {})
    model.settle()
    assert model.placement.next_move(model.now) is not None
    model.placement.forget("b")
    assert model.placement.under_way == Move("a", 1, 2)
    model.placement.forget("a")
    assert model.placement.under_way is None
    assert model.placement.lines(1) == []


def test_the_heaviest_of_several_overloaded_shards_is_relieved_first() -> None:
    model = Model.of({"a": 0.45, "b": 0.45}, {"c": 0.5, "d": 0.45}, {})
    model.settle(3 * SUSTAINED)
    move = model.placement.next_move(model.now)
    assert move is not None
    assert (move.source, move.target) == (2, 3)


LOADS = st.lists(st.floats(0.001, 0.9), max_size=6)


def model_of(shards: list[list[float]]) -> Model:
    return Model.of(
        *(
            {f"{shard}-{number}": load for number, load in enumerate(loads)}
            for shard, loads in enumerate(shards, 1)
        )
    )


@given(st.lists(LOADS, min_size=1, max_size=4))
@settings(deadline=None, max_examples=runs(60))
def test_under_constant_loads_moving_comes_to_an_end(shards: list[list[float]]) -> None:
    """Also where a shard would take more than a core, so that its lines seem to cost less."""
    model = model_of(shards)
    most = max(map(model.demand, model.placement.shards))
    model.run(4 * round(QUIET))
    assert all(at < 2 * QUIET for at, _ in model.moves)
    assert max(map(model.demand, model.placement.shards)) <= most * (1 + 1e-9)


@given(st.lists(LOADS, min_size=2, max_size=4).filter(lambda s: max(map(sum, s)) < 0.99))
@settings(deadline=None, max_examples=runs(60))
def test_no_line_moves_twice_and_what_stays_overloaded_cannot_be_helped(
    shards: list[list[float]],
) -> None:
    model = model_of(shards)
    model.run(2 * round(QUIET))
    lines = [move.line for _, move in model.moves]
    assert len(lines) == len(set(lines))
    loads = {shard: model.demand(shard) for shard in model.placement.shards}
    for shard, load in loads.items():
        names = model.placement.lines(shard)
        if load > OVERLOAD + 1e-6 and len(names) > 1:
            least = min(other for place, other in loads.items() if place != shard)
            for name in names:
                there = least + model.demands[name]
                assert there > ROOM - 1e-6 or there > load - 1e-6


class Placing(RuleBasedStateMachine):
    """Anything that may happen, beside a plain table of where each line is."""

    NAMES = st.sampled_from("abcdefgh")
    SHARDS = st.integers(1, 4)

    def __init__(self) -> None:
        super().__init__()
        self.placement = Placement()
        self.table: dict[str, int | None] = {}
        self.move: Move | None = None
        self.now = 0.0

    @rule(shard=SHARDS)
    def add_shard(self, shard: int) -> None:
        if shard not in self.placement.shards:
            self.placement.add_shard(shard)

    @precondition(lambda self: self.placement.shards)
    @rule(data=st.data())
    def remove_shard(self, data: st.DataObject) -> None:
        shard = data.draw(st.sampled_from(self.placement.shards))
        lost = self.placement.remove_shard(shard)
        assert sorted(lost) == sorted(n for n, place in self.table.items() if place == shard)
        self.table |= dict.fromkeys(lost)
        if self.move is not None and shard in (self.move.source, self.move.target):
            self.move = None

    @precondition(lambda self: self.placement.shards)
    @rule(line=NAMES, count=st.integers(0, 50))
    def place(self, line: str, count: int) -> None:
        if self.table.get(line) is None:
            self.table[line] = self.placement.place(line, streams(count))

    @precondition(lambda self: self.table)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        line = data.draw(st.sampled_from(sorted(self.table)))
        self.placement.forget(line)
        del self.table[line]
        if self.move is not None and self.move.line == line:
            self.move = None

    @rule(data=st.data(), cpu=st.floats(0.5, 1.0))
    def report(self, data: st.DataObject, cpu: float) -> None:
        for _ in range(round(SUSTAINED) + 1):
            self.now += 1.0
            for number, shard in enumerate(self.placement.shards):
                events = dict.fromkeys(self.placement.lines(shard), 10.0)
                self.placement.note(shard, self.now, cpu if number == 0 else 0.1, events)

    @rule()
    def begin(self) -> None:
        move = self.placement.next_move(self.now)
        if self.move is not None:
            assert move is None
        elif move is not None:
            assert self.table[move.line] == move.source != move.target
            assert move.target in self.placement.shards
            self.move = move

    @precondition(lambda self: self.move is not None)
    @rule(arrives=st.booleans())
    def end(self, arrives: bool) -> None:
        assert self.move is not None
        if arrives:
            self.placement.moved(self.now)
            self.table[self.move.line] = self.move.target
        else:
            self.placement.stayed(self.now)
        self.move = None

    @invariant()
    def every_line_is_on_one_shard_or_nowhere(self) -> None:
        assert self.placement.under_way == self.move
        for line, shard in self.table.items():
            assert self.placement.shard_of(line) == shard
        on_shards = [line for s in self.placement.shards for line in self.placement.lines(s)]
        assert sorted(on_shards) == sorted(n for n, shard in self.table.items() if shard)
        assert all(self.placement.load(shard) >= 0.0 for shard in self.placement.shards)


TestPlacing = Placing.TestCase
TestPlacing.settings = settings(deadline=None, max_examples=runs(50), stateful_step_count=40)
