"""The pipeline: wires the line that data follows, and owns every channel on it.

For each connection there is a lane of two actors, for the lanes that carry the same streams (one,
but for redundancy and while one takes over from another) an aggregator, and a mailbox between each
two::

    connection ──frames──▶ parser ──bundles──▶ aggregator ──▶ hub ──▶ sink, subscribers
         ▲                    │                    │
         └──────commands──────┴────────────────────┘

Channels are made in this room and nowhere else. What is collected changes while it runs: `Roster`
has the symbols and streams of a collector, `Sources` starts, replaces and ends connections,
`Listings` follows the venues' lists of instruments.
"""

from __future__ import annotations

from farm.pipeline.environment import Environment, Settings
from farm.pipeline.lane import Lane
from farm.pipeline.line import Line
from farm.pipeline.run import Pipeline

__all__ = ["Environment", "Lane", "Line", "Pipeline", "Settings"]
