"""The accounts of queues, put together by what they lie between."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.actors.mailbox import Mailbox
from farm.monitor.stats import EdgeStats
from farm.pipeline.edges import EdgeCounts
from tests.effort import runs


@attrs.define
class Item:
    nbytes: int = 1


def mailbox(name: str, max_items: int = 2) -> Mailbox[Item]:
    return Mailbox(name, lose=lambda _loss, item, _: item, max_bytes=10**9, max_items=max_items)


def filled(name: str, count: int, max_items: int = 2) -> Mailbox[Item]:
    box = mailbox(name, max_items)
    for _ in range(count):
        box.put(Item())
    return box


@pytest.mark.parametrize(
    ("name", "edge"),
    [
        ("binance/spot#1 connection>parser", "connection>parser"),
        ("binance/spot#1~2 connection>parser", "connection>parser"),
        ("bybit/linear#4 parser>aggregator", "parser>aggregator"),
        ("aggregator>sink", "aggregator>sink"),
        ("subscriber 3", "subscriber"),
        ("shard>parent", "shard>parent"),
    ],
)
def test_an_edge_bears_no_name_of_whose_it_is(name: str, edge: str) -> None:
    counts = EdgeCounts()
    counts.add(filled(name, 1))
    assert counts.stats() == [EdgeStats(edge, 1, 0, 0, 1)]


async def test_an_account_is_that_of_its_mailbox() -> None:
    box = filled("a>b", 5)
    with box.reader() as reader:
        await reader.next()  # the loss, which is no item
        await reader.next()
        counts = EdgeCounts()
        counts.add(box)
    assert counts.stats() == [EdgeStats("a>b", 5, 1, 3, 1)]


@settings(max_examples=runs(50))
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6)), max_size=12))
def test_accounts_add_up(boxes: list[tuple[str, int]]) -> None:
    """However they are put together, and each balances."""
    made = [filled(f"{owner} x>y", count) for owner, count in boxes]
    one, first, second = EdgeCounts(), EdgeCounts(), EdgeCounts()
    one.add_all(made)
    first.add_all(made[::2])
    second.add_all(made[1::2])
    first.include(second)
    assert first.stats() == one.stats()
    if not made:
        assert one.stats() == []
        return
    (edge,) = one.stats()
    assert edge.offered == sum(count for _, count in boxes)
    assert edge.dropped == sum(max(0, count - 2) for _, count in boxes)
    assert edge.offered == edge.taken + edge.dropped + edge.waiting


def test_edges_stay_apart() -> None:
    counts, others = EdgeCounts(), EdgeCounts()
    counts.add_all([filled("1 a>b", 1), filled("b>c", 2), filled("2 a>b", 3)])
    others.add(filled("c>d", 1))
    counts.include(others)
    assert counts.stats() == [
        EdgeStats("a>b", 4, 0, 1, 3),
        EdgeStats("b>c", 2, 0, 0, 2),
        EdgeStats("c>d", 1, 0, 0, 1),
    ]
    assert others.stats() == [EdgeStats("c>d", 1, 0, 0, 1)]


def test_an_account_stays_as_it_was_when_it_was_added() -> None:
    box = filled("a>b", 1)
    counts = EdgeCounts()
    counts.add(box)
    box.put(Item())
    assert counts.stats() == [EdgeStats("a>b", 1, 0, 0, 1)]
