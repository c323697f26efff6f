"""What a run takes from the world, and how it is to behave."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import attrs
import trio

from farm.config import FarmConfig, StorageConfig, SupervisionConfig
from farm.exchanges.share import Share
from farm.net.budget import Budget
from farm.net.dial import OpenStream, open_tcp
from farm.threads import RunSync, in_thread
from farm.types import Nanoseconds, NumberMode

__all__ = ["Environment", "MakeBudget", "Settings", "StartProcess", "StartedProcess"]


class StartedProcess(Protocol):
    """A process that was started, or what stands in for one. ``stream`` is the parent's end of the
    link to it. See :class:`~farm.cluster.process.ShardProcess`."""

    name: str

    @property
    def pid(self) -> int: ...
    @property
    def stream(self) -> trio.abc.Stream: ...
    @property
    def last_lines(self) -> Sequence[str]: ...
    async def wait(self) -> str: ...
    def kill(self) -> None: ...
    async def aclose(self) -> None: ...


StartProcess: TypeAlias = Callable[[str, trio.Nursery], Awaitable[StartedProcess]]


MakeBudget: TypeAlias = Callable[[str, str, int, float], Budget]
"""Makes a budget: of what, at which host, so much in so many seconds."""


def _budget(what: str, host: str, limit: int, period: float) -> Budget:
    return Budget(limit, period, f"{what} {host}")


@attrs.define
class Environment:
    """What the pipeline takes from the world, so that a test may give it something else.

    ``wall_clock`` stamps times (ns, UTC). ``run_sync`` runs whatever blocks: disks and the lookup
    of names. ``open_stream`` connects WebSockets and REST; without one that is TCP, with names
    looked up by ``run_sync``. ``seed``: what is drawn by chance can be drawn again. ``make_budget``
    makes the budgets that venues count by address. ``start_shard`` starts the processes of a farm
    in several; without one they are real ones, which know nothing of this environment.
    """

    wall_clock: Callable[[], Nanoseconds] = time.time_ns
    run_sync: RunSync = in_thread
    open_stream: OpenStream | None = None
    seed: int | str | None = None
    make_budget: MakeBudget = _budget
    start_shard: StartProcess | None = None

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
    False is for measuring what that is worth. ``share``: streams of other shares are not collected.
    """

    numbers: NumberMode = NumberMode.FLOAT
    data: Path | None = None
    mailbox_bytes: int = 64 * 2**20
    supervision: SupervisionConfig = attrs.field(factory=SupervisionConfig)
    storage: StorageConfig = attrs.field(factory=StorageConfig)
    share: Share | None = None
    hand_off: bool = True

    @classmethod
    def of(cls, config: FarmConfig) -> Settings:
        """The settings in a configuration."""
        shared = {field.name for field in attrs.fields(cls)} - {"hand_off"}
        return cls(**{name: getattr(config, name) for name in shared})
