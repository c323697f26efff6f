"""What counts of an actor's past: pauses within their bounds, and the window of crashes."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.actors.policy import Policy, Record, is_weather
from farm.errors import ConnectionLost, StorageFailed


@given(st.integers(0, 2**32), st.floats(0.01, 5.0), st.floats(1.0, 100.0))
def test_every_pause_lies_between_nothing_and_its_ceiling(
    seed: int, initial: float, factor: float
) -> None:
    policy = Policy(backoff_initial=initial, backoff_cap=initial * factor, intensity=200)
    storms = Record(policy, random.Random(seed))
    crashes = Record(policy, random.Random(seed))
    assert crashes.crash(0.0, None) == 0.0
    for number in range(100):
        ceiling = min(policy.backoff_cap, initial * 2.0**number)
        pause = storms.weather(0.0, None)
        assert 0.0 <= pause <= ceiling
        assert crashes.crash(0.0, None) == pause


@given(st.lists(st.floats(0.0, 30.0), max_size=60), st.integers(0, 6))
def test_too_many_are_more_than_the_intensity_within_the_period(
    between: list[float], intensity: int
) -> None:
    record = Record(Policy(intensity=intensity, period=60.0), random.Random(1))
    times: list[float] = []
    for pause in between:
        times.append((times[-1] if times else 0.0) + pause)
        recent = [time for time in times if time > times[-1] - 60.0]
        assert (record.crash(times[-1], None) is None) == (len(recent) > intensity)


def test_a_past_that_is_cleared_counts_no_more() -> None:
    record = Record(Policy(intensity=1), random.Random(1))
    assert record.crash(0.0, None) is not None
    assert record.crash(1.0, None) is None
    record.clear()
    assert record.crash(2.0, None) == 0.0


def test_a_group_is_weather_where_every_leaf_is() -> None:
    kinds = (ConnectionLost, StorageFailed)
    lost, full = ConnectionLost("gone"), StorageFailed("full")
    assert is_weather(ExceptionGroup("", [lost, ExceptionGroup("", [full])]), kinds)
    assert not is_weather(ExceptionGroup("", [lost, ExceptionGroup("", [KeyError()])]), kinds)
    assert not is_weather(lost, ())


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("backoff_initial", [-0.1, float("nan")]),
        ("backoff_cap", [-1.0, float("nan")]),
        ("healthy_after", [-1.0, float("nan")]),
        ("intensity", [-1, 2.5]),
        ("period", [0.0, -1.0, float("nan")]),
    ],
)
def test_what_no_policy_can_be_is_refused_by_name(field: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises((ValueError, TypeError), match=field):
            Policy(**{field: value})


def test_no_pauses_and_no_crash_at_all_are_a_policy() -> None:
    record = Record(Policy(0.0, 0.0, 0.0, 0, 1e-9), random.Random(1))
    assert record.weather(0.0, None) == 0.0
    assert record.crash(0.0, None) is None
