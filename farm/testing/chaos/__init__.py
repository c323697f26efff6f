"""Chaos: farms on fake exchanges where things go wrong by seed, and the judgement on each run.

``python -m farm.testing.chaos --seeds 200`` carries out so many runs, ``--seed 17`` one of them,
``--shrink`` finds the shortest script that still fails. After each run:

1. every book equalled the venue's, whole and to the level, or did not say *verified*;
2. every trade and quote that the venue told since it first said that it would was delivered, or
   lies inside a recorded gap (where a venue proves nothing, what it swallowed itself can't be
   known, and farm says *unknown* of it); no trade came twice;
3. nothing was delivered that did not happen, and the last quote is the venue's last; what was
   delivered was stored, once, with its numbers;
4. no claim was false: gaps name no trade that had come, *complete* means all of them, and where
   nothing went wrong there is no gap;
5. all streams were live and all books whole again after the last fault;
6. no task, stream or file was left, and the end came within its grace.
"""

from __future__ import annotations

from farm.testing.chaos.outcome import ChaosResult
from farm.testing.chaos.plan import ChaosPlan
from farm.testing.chaos.run import run_chaos
from farm.testing.chaos.shrink import shortest, shortest_plan

__all__ = ["ChaosPlan", "ChaosResult", "run_chaos", "shortest", "shortest_plan"]
