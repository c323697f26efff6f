"""Who takes part in the end-to-end benchmarks, and who cannot and why."""

from __future__ import annotations

from importlib.util import find_spec

import attrs

from benchmarks.contenders.race import Contender
from benchmarks.cryptofeeds import cryptofeeds

__all__ = ["FARM", "FARM_2_MS", "PICOWS", "all_contenders"]

FARM = "farm"
FARM_2_MS = "farm, latency_budget 2 ms"
PICOWS = "picows + msgspec by hand"

BUDGET = "latency_budget"


def all_contenders() -> list[Contender]:
    """Everyone, farm first."""
    return [
        Contender(FARM, "farm_trades", quick=True),
        Contender("farm, columns", "farm_trades", {"columns": True}),
        Contender("farm, each stage woken", "farm_trades", {"woken": True}),
        Contender(FARM_2_MS, "farm_trades", {"collector": {BUDGET: 0.002}}, quick=True),
        *_cryptofeeds(),
        _needing("ccxt", "peers", Contender("ccxt.pro", "ccxt_trades", share=0.2, lossy=True)),
        _by_hand("websockets + orjson by hand", "websockets_orjson", "websockets", "orjson"),
        attrs.evolve(_by_hand(PICOWS, "picows_msgspec", "picows"), quick=True),
    ]


def _by_hand(name: str, module: str, *packages: str) -> Contender:
    contender = Contender(name, module)
    for package in (*packages, "uvloop"):
        contender = _needing(package, "bench", contender)
    return contender


def _needing(package: str, extra: str, contender: Contender) -> Contender:
    if contender.absent is None and find_spec(package) is None:
        return attrs.evolve(contender, absent=f"{package} is not installed (extra {extra})")
    return contender


def _cryptofeeds() -> list[Contender]:
    found = cryptofeeds()
    missing = {
        "2": "cryptofeed 2 is not installed (extra peers)",
        "3": "no Python with cryptofeed 3 was found (set FARM_BENCH_PYTHON)",
    }
    return [
        Contender(
            f"cryptofeed {major}", "cryptofeed_trades", kind="aggTrade", python=found[major][0]
        )
        if major in found
        else Contender(f"cryptofeed {major}", "cryptofeed_trades", absent=missing[major])
        for major in ("2", "3")
    ]
