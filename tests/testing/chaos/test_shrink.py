"""The shortest part that still fails."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from farm.testing.chaos import shortest


@given(st.lists(st.integers(0, 30), unique=True, max_size=30), st.data())
def test_nothing_less_fails_and_the_order_stays(items: list[int], data: st.DataObject) -> None:
    culprits = data.draw(st.sets(st.sampled_from(items))) if items else set()

    def fails(some: Sequence[int]) -> bool:
        return culprits <= set(some)

    assert shortest(items, fails) == [item for item in items if item in culprits]


def test_it_is_a_local_minimum_where_either_of_two_would_do() -> None:
    asked = []

    def fails(some: Sequence[int]) -> bool:
        asked.append(list(some))
        return bool({3, 8} & set(some))

    assert shortest(range(10), fails) in ([3], [8])
    assert list(range(10)) not in asked
