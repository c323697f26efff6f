"""What a run takes from the world, and how it is to behave."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from farm.config import FarmConfig, StorageConfig, SupervisionConfig
from farm.net.dial import OpenStream, open_tcp
from farm.threads import RunSync, in_thread
from farm.types import Nanoseconds, NumberMode

__all__ = ["Environment", "Settings"]


@attrs.define
class Environment:
    """What the pipeline takes from the world, so that a test may give it something else.

    ``wall_clock`` stamps times (ns, UTC). ``run_sync`` runs whatever blocks: disks and the lookup
    of names. ``open_stream`` connects WebSockets and REST; without one that is TCP, with names
    looked up by ``run_sync``. ``seed``: what is drawn by chance can be drawn again.
    """

    wall_clock: Callable[[], Nanoseconds] = time.time_ns
    run_sync: RunSync = in_thread
    open_stream: OpenStream | None = None
    seed: int | str | None = None

    @property
    def dial(self) -> OpenStream:
        """What everything connects by."""
        return self.open_stream or open_tcp(self.run_sync)

    def rng(self, name: str) -> random.Random:
        """A generator for what bears this name.

        With a seed it is always the same one, whatever others draw: the order in which tasks run
        changes nothing.
        """
        if self.seed is None:
            return random.Random()  # noqa: S311 (jitter)
        return random.Random(f"{self.seed}:{name}")  # noqa: S311


@attrs.frozen
class Settings:
    """How a run is to behave, whatever its source: see :class:`~farm.config.FarmConfig`.

    ``hand_off``: parser, aggregator and sink take their turns on the stack of who sends to them;
    False is for measuring what that is worth.
    """

    numbers: NumberMode = NumberMode.FLOAT
    data: Path | None = None
    mailbox_bytes: int = 64 * 2**20
    supervision: SupervisionConfig = attrs.field(factory=SupervisionConfig)
    storage: StorageConfig = attrs.field(factory=StorageConfig)
    hand_off: bool = True

    @classmethod
    def of(cls, config: FarmConfig) -> Settings:
        """The settings in a configuration."""
        shared = {field.name for field in attrs.fields(cls)} - {"hand_off"}
        return cls(**{name: getattr(config, name) for name in shared})
