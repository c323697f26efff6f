"""What a run leaves behind for its judges, and how it went in their judgement."""

from __future__ import annotations

import math

import attrs

from farm import FarmStats, Gap
from farm.testing.chaos.ledger import Balance
from farm.testing.chaos.observer import Observer
from farm.testing.chaos.plan import ChaosPlan
from farm.types import Symbol

__all__ = ["DRAIN", "ChaosResult", "Outcome", "Stored"]

DRAIN = 10.0
"""Seconds of grace that each stage has at the end."""


@attrs.frozen
class ChaosResult:
    """How a run went: ``violations`` is empty where all was well.

    ``balance``: of the trades; ``quotes``: of the quotes. ``recovered``: seconds after the last
    fault until every stream was live and every book whole. ``closing``: seconds that the end took.
    ``compared``: books that said *verified* and were compared with the truth; ``oldest``: the
    greatest age of one in seconds. ``hits``: what the faults did.
    """

    plan: ChaosPlan
    violations: list[str]
    balance: Balance | None = None
    quotes: Balance | None = None
    compared: int = 0
    oldest: float = 0.0
    recovered: float = math.nan
    closing: float = math.nan
    hits: int = 0


@attrs.frozen
class Stored:
    """What the data directory holds."""

    trades: list[tuple[Symbol, str]]
    gaps: list[Gap]


@attrs.define(eq=False)
class Outcome:
    """What a run leaves behind. ``until``: what the venue told later may have been on its way."""

    violations: list[str] = attrs.field(factory=list)
    observer: Observer | None = None
    stats: FarmStats | None = None
    stored: Stored | None = None
    until: float = 0.0
    recovered: float = math.nan
    closing: float = math.nan
    hits: int = 0
    eaten: set[tuple[Symbol, str]] = attrs.field(factory=set)
