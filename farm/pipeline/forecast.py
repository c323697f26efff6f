"""How many processes a farm has work for, told before it runs."""

from __future__ import annotations

import os

from farm.config import CollectorConfig, FarmConfig
from farm.exchanges.instruments import is_pattern
from farm.exchanges.plan import plan_connections
from farm.exchanges.share import Share

__all__ = ["connections_of", "processes_for", "usable_cores"]


def connections_of(config: FarmConfig) -> int | None:
    """Over how many lines the streams of a farm are spread, each of one connection a lane.

    None where that is unknown until patterns are looked up in a venue's list.
    """
    collectors = config.collectors
    if any(is_pattern(name) for collector in collectors for name in collector.symbols):
        return None
    return sum(_lines_of(collector, config.share) for collector in collectors)


def processes_for(config: FarmConfig) -> int:
    """One process for each core, but not more than there are connections; where the system is no
    Unix, all runs in one."""
    if os.name != "posix":
        return 1
    connections, cores = connections_of(config), usable_cores()
    return cores if connections is None else max(1, min(cores, connections))


def usable_cores() -> int:
    """The cores that this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _lines_of(collector: CollectorConfig, share: Share | None) -> int:
    streams = [*collector.streams_of(), *collector.streams_of_market()]
    ours = [stream for stream in streams if share is None or share.has(stream)]
    return len(plan_connections(ours, collector.rules))
