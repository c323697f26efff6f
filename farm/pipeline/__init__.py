"""The pipeline: wires the line that data follows, and owns every channel on it.

For each connection there is a line of three actors, with a mailbox between each two::

    connection ──frames──▶ parser ──bundles──▶ aggregator ──▶ hub ──▶ sink, subscribers
         ▲                    │                    │
         └──────commands──────┴────────────────────┘

Channels are made in this room and nowhere else.
"""

from __future__ import annotations

from farm.pipeline.environment import Environment, Settings
from farm.pipeline.line import Line
from farm.pipeline.run import Pipeline

__all__ = ["Environment", "Line", "Pipeline", "Settings"]
