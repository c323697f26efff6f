"""The ids of whole reads, where they are what is expected, as almost always: looked at without
making an object of any event. Where something is not, nothing is changed, and the events are to be
looked at one by one.
"""

from __future__ import annotations

from collections.abc import Mapping

from farm.exchanges.decoded import Decoded
from farm.exchanges.id_chain import IdChain
from farm.exchanges.repeats import RecentIds
from farm.types import Symbol

__all__ = ["take_adjoining", "take_new", "take_next"]


def take_next(source: Decoded, chains: Mapping[Symbol, IdChain]) -> bool:
    """Whether these are what can only come next of each of their chains; now they are in them."""
    numbers = source.numbers
    if numbers is None or not source.recipe.is_by_stream:
        return False
    expected = _expected_of_one if len(source.runs) == 1 else _expected_of_many
    found = expected(source, numbers, chains)
    for run in source.runs if found else ():
        symbol = run.stream.symbol
        chain = chains[symbol]
        chain.expected, chain.latest = found[symbol], run
    return bool(found)


def _expected_of_one(
    source: Decoded, numbers: list[int], chains: Mapping[Symbol, IdChain]
) -> dict[Symbol, int]:
    """What is expected after them, where they are of one stream; empty where they don't follow."""
    symbol, first = source.runs[0].stream.symbol, numbers[0]
    chain = chains.get(symbol)
    if chain is None or chain.expected != first:
        return {}
    after = first + len(numbers)
    return {symbol: after} if numbers == list(range(first, after)) else {}


def _expected_of_many(
    source: Decoded, numbers: list[int], chains: Mapping[Symbol, IdChain]
) -> dict[Symbol, int]:
    """The same of several streams."""
    expected: dict[Symbol, int] = {}
    for number, stream in zip(numbers, source.each_stream, strict=True):
        symbol = stream.symbol
        awaited = expected.get(symbol)
        if awaited is None:
            chain = chains.get(symbol)
            awaited = -1 if chain is None else chain.expected
        if number != awaited:
            return {}
        expected[symbol] = number + 1
    return expected


def take_adjoining(source: Decoded, chains: Mapping[Symbol, IdChain]) -> None:
    """Compare the fills of aggregate trades, which are in their chains, with those before."""
    firsts, lasts = source.values("first_trade_id"), source.values("last_trade_id")
    for stream, first, last in zip(source.each_stream, firsts, lasts, strict=False):
        chain = chains[stream.symbol]
        chain.unadjoined += first != chain.next_trade
        chain.next_trade = last + 1


def take_new(source: Decoded, recent: RecentIds) -> bool:
    """Whether none of these ids was seen before; now they were."""
    if not source.recipe.is_by_stream or len(source.runs) > 1:
        return False
    return recent.are_new(source.runs[0].stream.symbol, source.values("id"))
