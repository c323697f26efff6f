"""What many runs came to, for people and for programs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from farm.testing.chaos.run import ChaosResult

__all__ = ["as_json", "summary"]


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
    trades = sums["trades"]
    lines.append(f"{len(results)} runs, {len(failed)} failed; faults hit {sums['hits']} times")
    lines.append(
        f"trades: {trades['owed']} owed, {trades['delivered']} delivered, {trades['recorded']} in "
        f"gaps, {trades['unprovable']} swallowed where nothing can be proven"
    )
    lines.append(
        f"books: {sums['compared']} that said verified were compared, the oldest "
        f"{sums['oldest_verified_seconds']:.1f} s behind"
    )
    lines.append(
        f"well again after {sums['slowest_recovery_seconds']:.0f} s at most, the end took "
        f"{sums['slowest_end_seconds']:.1f} s at most"
    )
    return "\n".join(lines)


def _sums(results: Sequence[ChaosResult]) -> dict[str, Any]:
    trades: Counter[str] = Counter(owed=0, delivered=0, recorded=0, unprovable=0)
    for balance in (result.balance for result in results):
        if balance is not None:
            trades["owed"] += balance.owed
            trades["delivered"] += balance.delivered
            trades["recorded"] += balance.recorded
            trades["unprovable"] += balance.unprovable
    return {
        "markets": dict(Counter(result.plan.market_name for result in results)),
        "hits": sum(result.hits for result in results),
        "trades": dict(trades),
        "compared": sum(result.compared for result in results),
        "oldest_verified_seconds": _most(result.oldest for result in results),
        "slowest_recovery_seconds": _most(result.recovered for result in results),
        "slowest_end_seconds": _most(result.closing for result in results),
    }


def _most(values: Any) -> float:
    return max((value for value in values if not math.isnan(value)), default=0.0)
