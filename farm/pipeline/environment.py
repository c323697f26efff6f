"""What a run takes from the world, and how it is to behave."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import httpcore2

from farm.actors.sink import RunSync, in_thread
from farm.config import FarmConfig, StorageConfig, SupervisionConfig
from farm.net.websocket import OpenStream
from farm.types import Nanoseconds, NumberMode

__all__ = ["Environment", "Settings"]


@attrs.define
class Environment:
    """What the pipeline takes from the world, so that a test may give it something else.

    ``wall_clock`` stamps times (ns, UTC); ``run_sync`` runs blocking work; ``open_stream`` and
    ``network_backend`` put other streams beneath WebSockets and REST; ``rng`` draws jitter.
    """

    wall_clock: Callable[[], Nanoseconds] = time.time_ns
    run_sync: RunSync = in_thread
    open_stream: OpenStream | None = None
    network_backend: httpcore2.AsyncNetworkBackend | None = None
    rng: random.Random = attrs.field(factory=random.Random)


@attrs.frozen
class Settings:
    """How a run is to behave, whatever its source: see :class:`~farm.config.FarmConfig`."""

    numbers: NumberMode = NumberMode.FLOAT
    data: Path | None = None
    mailbox_bytes: int = 64 * 2**20
    supervision: SupervisionConfig = attrs.field(factory=SupervisionConfig)
    storage: StorageConfig = attrs.field(factory=StorageConfig)

    @classmethod
    def of(cls, config: FarmConfig) -> Settings:
        """The settings in a configuration."""
        return cls(**{field.name: getattr(config, field.name) for field in attrs.fields(cls)})
