"""What many runs came to, for people and for programs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from farm.testing.chaos.ledger import Balance
from farm.testing.chaos.outcome import ChaosResult

__all__ = ["as_json", "summary"]

_SUMMED = ("owed", "delivered", "recorded", "unprovable", "quiet")


def as_json(results: Sequence[ChaosResult], failed: Sequence[ChaosResult]) -> dict[str, Any]:
    """Sums over all runs, and each that failed with its script."""
    return {
        "runs": len(results),
        "failed": [
            {
                "seed": result.plan.seed,
                "plan": result.plan.describe(),
                "violations": result.violations,
            }
            for result in failed
        ],
        **_sums(results),
    }


def summary(results: Sequence[ChaosResult], failed: Sequence[ChaosResult]) -> str:
    """The same in words."""
    lines = []
    for result in failed:
        lines += [*result.plan.describe(), *(f"  ✗ {text}" for text in result.violations), ""]
    sums = _sums(results)
    lines.append(f"{len(results)} runs, {len(failed)} failed; faults hit {sums['hits']} times")
    lines += [_balance_line(name, sums[name]) for name in ("trades", "quotes")]
    lines.append(
        f"books: {sums['compared']} that said verified were compared, the oldest "
        f"{sums['oldest_verified_seconds']:.1f} s behind"
    )
    lines.append(
        f"well again after {sums['slowest_recovery_seconds']:.0f} s at most, the end took "
        f"{sums['slowest_end_seconds']:.1f} s at most"
    )
    return "\n".join(lines)


def _balance_line(name: str, sums: dict[str, int]) -> str:
    swallowed = f"{sums['unprovable']} swallowed where nothing can be proven"
    return (
        f"{name}: {sums['owed']} owed, {sums['delivered']} delivered, {sums['recorded']} in gaps, "
        f"{swallowed}; {sums['quiet']} gaps of quiet time"
    )


def _sum(balances: Iterable[Balance | None]) -> dict[str, int]:
    sums = Counter(dict.fromkeys(_SUMMED, 0))
    for balance in balances:
        if balance is not None:
            sums.update({name: getattr(balance, name) for name in _SUMMED})
    return dict(sums)


def _sums(results: Sequence[ChaosResult]) -> dict[str, Any]:
    return {
        "markets": dict(Counter(result.plan.market_name for result in results)),
        "hits": sum(result.hits for result in results),
        "trades": _sum(result.balance for result in results),
        "quotes": _sum(result.quotes for result in results),
        "compared": sum(result.compared for result in results),
        "oldest_verified_seconds": _most(result.oldest for result in results),
        "slowest_recovery_seconds": _most(result.recovered for result in results),
        "slowest_end_seconds": _most(result.closing for result in results),
    }


def _most(values: Any) -> float:
    return max((value for value in values if not math.isnan(value)), default=0.0)
