"""Scripts: written, printed, read, chosen, cut."""

from __future__ import annotations

import inspect
from typing import Any, get_args

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.testing import FaultScript
from farm.testing.faults import (
    KINDS,
    Corrupt,
    Corruption,
    Drop,
    Fault,
    Refuse,
    Reset,
    RestStatus,
    ScriptError,
    SequenceBreak,
)
from tests.effort import runs

STREAMS = ["btcusdt@trade", "btcusdt@depth@100ms", "btcusdt@depth20", "orderbook.50.BTCUSDT"]
TEXT = """
# what the manual shows
# seed 17

5.0 drop btcusdt@depth@100ms count=3
  7.5   reset
9 refuse seconds=4
12.25 corrupt btcusdt@trade how=gzip
"""
SCRIPT = FaultScript(
    [
        Drop(5, "btcusdt@depth@100ms", count=3),
        Reset(7.5),
        Refuse(9, seconds=4),
        Corrupt(12.25, "btcusdt@trade", how="gzip"),
    ],
    seed=17,
)

# --- text ----------------------------------------------------------------------------------------


def test_text_is_read_and_printed() -> None:
    script = FaultScript.parse(TEXT)
    assert script == SCRIPT
    assert str(script).splitlines() == [
        "# seed 17",
        "5.0 drop btcusdt@depth@100ms count=3",
        "7.5 reset",
        "9.0 refuse seconds=4",
        "12.25 corrupt btcusdt@trade how=gzip",
    ]
    assert FaultScript.parse("") == FaultScript()
    assert str(FaultScript()) == ""


words = st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1).filter(
    lambda text: text.split() == [text]
)
finite = st.floats(allow_nan=False, allow_infinity=False)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "at": st.floats(0, allow_nan=False, allow_infinity=False),
    "stream": words,
    "count": st.integers(1),
    "by": st.integers(1),
    "connection": st.none() | words,
    "path": words,
    "status": st.integers(400, 599),
    "code": st.integers(1000, 4999),
    "retry_after": st.none() | st.integers(0),
}


def values_of(kind: type[Fault], name: str) -> st.SearchStrategy[Any]:
    if name == "seconds":
        positive = st.floats(0, exclude_min=True, allow_nan=False, allow_infinity=False)
        return finite if kind.word == "clock_jump" else positive
    if name == "how":
        validator: Any = attrs.fields_dict(kind)["how"].validator
        return st.sampled_from(validator.options)
    return VALUES[name]


def faults() -> st.SearchStrategy[Fault]:
    return st.one_of(
        [
            st.builds(kind, **{field.name: values_of(kind, field.name) for field in fields(kind)})
            for kind in KINDS.values()
        ]
    )


def fields(kind: type[Fault]) -> tuple[Any, ...]:
    found: tuple[Any, ...] = attrs.fields(kind)
    return found


@given(st.lists(faults()), st.none() | st.integers() | st.text())
def test_what_is_printed_is_read_back(some: list[Fault], seed: int | str | None) -> None:
    script = FaultScript(some, seed=seed)
    assert FaultScript.parse(str(script)) == script
    assert str(FaultScript.parse(str(script))) == str(script)


@pytest.mark.parametrize(
    ("line", "word", "why"),
    [
        ("soon drop a", "soon", "not a number"),
        ("1", "1", "a moment without a fault"),
        ("1 frop a", "frop", "no such fault; 'drop' is meant"),
        ("1 zzz", "zzz", "no such fault$"),
        ("1 drop", "drop", "name of a stream"),
        ("1 drop count=3", "drop", "name of a stream"),
        ("1 drop a b", "b", "expected NAME=VALUE"),
        ("1 drop a cuont=3", "cuont", "'count' is meant"),
        ("1 reset at=3", "at", "no such attribute"),
        ("1 drop a count=3 count=3", "count", "stands twice"),
        ("1 drop a count=x", "count=x", "not a whole number"),
        ("1 drop a count=0", "count=0", "must be >= 1"),
        ("1 refuse", "refuse", "needs seconds="),
        ("1 refuse seconds=nan", "seconds=nan", "finite"),
        ("1 refuse seconds=-1", "seconds=-1", "must be > 0"),
        ("1 corrupt a how=gzp", "how=gzp", "must be in"),
        ("1 corrupt a", "corrupt", "needs how="),
        ("1 reject status=200", "status=200", "must be >= 400"),
        ("1 reset connection=", "connection=", "one word"),
        ("-1 reset", "-1", "must be >= 0"),
        ("inf reset", "inf", "finite"),
        ("# seed x", "x", "in quotes"),
        ("# seed 1.5", "1.5", "in quotes"),
        ("# seed true", "true", "in quotes"),
    ],
)
def test_errors_name_line_and_word(line: str, word: str, why: str) -> None:
    with pytest.raises(ScriptError, match=why) as caught:
        FaultScript.parse(f"1 reset\n\n{line}\n")
    assert (caught.value.line, caught.value.word) == (3, word)
    assert str(caught.value).startswith(f"line 3: {word!r}: ")


@pytest.mark.parametrize("word", ["", "a b", "a\n"])
def test_a_name_that_is_no_word_is_no_name(word: str) -> None:
    with pytest.raises(ValueError, match="one word"):
        Drop(1, word)


# --- calls and slices ----------------------------------------------------------------------------


def test_calls_add_faults_in_their_order() -> None:
    script = FaultScript(seed=17).drop("btcusdt@depth@100ms", at=5.0, count=3).reset(at=7.5)
    script.refuse(at=9, seconds=4)
    script.corrupt("btcusdt@trade", at=12.25, how="gzip")
    assert script == SCRIPT
    assert eval(repr(script)) == script


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_every_kind_has_a_call_with_its_attributes(kind: type[Fault]) -> None:
    parameters = inspect.signature(getattr(FaultScript, kind.word)).parameters
    wanted = {
        field.name: inspect.Parameter.empty if field.default is attrs.NOTHING else field.default
        for field in fields(kind)
    }
    assert {name: p.default for name, p in parameters.items() if name != "self"} == wanted
    values = {"stream": "x", "seconds": 2, "how": "empty"}
    if kind.word in ("accept_then_close", "tls_failure"):
        values["how"] = wanted["how"]
    chosen = {name: value for name, value in values.items() if name in wanted}
    script = getattr(FaultScript(), kind.word)(at=1, **chosen)
    assert list(script) == [kind(at=1, **chosen)]


def test_what_comes_while_an_exchange_follows_it_is_refused() -> None:
    script = FaultScript().reset(at=1)
    script.begin()
    script.begin()
    script.end()
    with pytest.raises(ValueError, match=r"'2.0 drop x' comes too late: .* exchange\.strike"):
        script.drop("x", at=2)
    script[:].drop("x", at=2)
    script.end()
    assert len(script.drop("x", at=2)) == 2


def test_slices_and_subsets_are_scripts_of_the_same_seed() -> None:
    assert SCRIPT[1] == Reset(7.5)
    assert SCRIPT[1:] == FaultScript(list(SCRIPT)[1:], seed=17)
    assert SCRIPT[::-2] == SCRIPT.subset([3, 1])
    assert SCRIPT.subset(range(4)) == SCRIPT
    assert SCRIPT[:3] != SCRIPT
    assert FaultScript(SCRIPT) != SCRIPT
    assert list(SCRIPT) != SCRIPT
    assert len(SCRIPT) == 4
    with pytest.raises(TypeError, match="unhashable"):
        hash(SCRIPT)


# --- chance --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [*range(runs(50)), "text", "17"])
def test_a_seed_always_gives_the_same_script(seed: int | str) -> None:
    script = FaultScript.random(seed, STREAMS, seconds=30, count=20, tls=True, wall_clock=True)
    assert script == FaultScript.random(
        seed, list(STREAMS), seconds=30, count=20, tls=True, wall_clock=True
    )
    assert script.seed == seed
    assert FaultScript.parse(str(script)) == script
    assert len(script) == 20
    moments = [fault.at for fault in script]
    assert moments == sorted(moments)
    assert 0 <= moments[0] <= moments[-1] <= 30


def test_seeds_differ_also_where_they_print_alike() -> None:
    scripts = [FaultScript.random(seed, STREAMS) for seed in range(50)]
    assert len({str(script) for script in scripts}) == 50


def words_of(**options: Any) -> set[str]:
    script = FaultScript.random(1, **{"streams": STREAMS, "count": 2_000, **options})
    return {fault.word for fault in script}


def test_all_kinds_are_chosen_that_the_options_admit() -> None:
    everything = set(KINDS)
    rest = {word for word in everything if word.startswith("rest_")} | {"snapshot_too_old"}
    assert words_of(tls=True, wall_clock=True) == everything
    assert words_of() == everything - {"tls_failure", "clock_jump"}
    assert words_of(rest=False) == everything - {"tls_failure", "clock_jump"} - rest
    assert words_of(kinds=["reset", "drop"]) == {"reset", "drop"}
    assert "sequence_break" not in words_of(streams=["btcusdt@trade", "btcusdt@depth20@100ms"])
    assert words_of(streams=[]).isdisjoint({"drop", "corrupt", "delay", "no_data"})


def test_chance_takes_streams_and_ways_from_what_there_is() -> None:
    script = FaultScript.random(3, STREAMS, count=2_000)
    streams = {fault.stream for fault in script if isinstance(fault, Drop)}
    books = {fault.stream for fault in script if isinstance(fault, SequenceBreak)}
    ways = {fault.how for fault in script if isinstance(fault, Corrupt)}
    assert streams == set(STREAMS)
    assert books == {"btcusdt@depth@100ms", "orderbook.50.BTCUSDT"}
    assert ways == set(get_args(Corruption))
    statuses = {fault.status for fault in script if isinstance(fault, RestStatus)}
    assert statuses == {403, 418, 429, 503}


def test_a_text_is_one_name() -> None:
    script = FaultScript.random(1, "btcusdt@trade", kinds="drop")
    assert {getattr(fault, "stream", None) for fault in script} == {"btcusdt@trade"}


def test_what_cannot_be_chosen_is_an_error() -> None:
    with pytest.raises(ValueError, match="no such fault: 'frop'"):
        FaultScript.random(1, STREAMS, kinds=["frop"])
    with pytest.raises(ValueError, match="no kind"):
        FaultScript.random(1, [], kinds=["drop"])
