"""Whether a farm runs in many processes, and who opens its lines then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from farm.actors.supervisor import Supervisor
from farm.cluster.placement import shards_for
from farm.cluster.process import start_process
from farm.cluster.sources import ClusterSources
from farm.config import FarmConfig
from farm.pipeline import Environment, Pipeline
from farm.pipeline.forecast import connections_of
from farm.pipeline.line_source import LineSource

__all__ = ["cluster_sources"]


def cluster_sources(
    config: FarmConfig, environment: Environment
) -> Callable[[Pipeline, Supervisor], LineSource[Any]] | None:
    """Who opens the lines of this farm in shards; None where it runs in one process, as it does
    where it has one connection.

    ValueError for an environment that no other process could have.
    """
    processes = config.processes or 1
    connections = connections_of(config)
    if connections is not None:
        processes = shards_for(connections, processes)
    if processes <= 1:
        return None
    start = environment.start_shard
    if start is None:
        if environment.open_stream is not None:
            raise ValueError(
                f"an environment with an own open_stream works within one process, not {processes}"
            )
        start = start_process

    def make(pipeline: Pipeline, stages: Supervisor) -> ClusterSources:
        return ClusterSources(pipeline, stages, config, processes, start)

    return make
