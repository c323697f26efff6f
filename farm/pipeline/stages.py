"""The stages of a run: a supervisor for each, and what is left when they have ended."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

import trio

from farm.actors.supervisor import (
    Escalation,
    LifecycleEvent,
    LifecycleLog,
    Policy,
    Supervisor,
    open_supervisor,
)
from farm.bundle import Bundle
from farm.config import SupervisionConfig
from farm.errors import ConnectionLost, StorageFailed
from farm.pipeline.environment import Environment
from farm.pipeline.line_source import Rest
from farm.types import Nanoseconds

__all__ = ["RECORDS", "open_stage", "publish_rest"]

log = logging.getLogger("farm.pipeline")

RECORDS = 1.0
"""Seconds that there always are for the records of what was lost: but in a replay they wait for
nobody."""


def open_stage(
    config: SupervisionConfig,
    environment: Environment,
    on_event: Callable[[LifecycleEvent], None],
    log: LifecycleLog,
) -> AbstractAsyncContextManager[Supervisor]:
    """A supervisor whose actors are stopped at the same time: the stages follow one another."""
    policy = Policy(
        backoff_initial=config.backoff_initial,
        backoff_cap=config.backoff_cap,
        healthy_after=config.healthy_after,
        intensity=config.intensity,
        period=config.period,
        escalation=Escalation(config.escalate),
    )
    return open_supervisor(
        policy,
        weather=(ConnectionLost, StorageFailed),
        on_event=on_event,
        rng=environment.rng,
        log=log,
        together=True,
    )


async def publish_rest(
    lines: Sequence[Rest],
    publish: Callable[[Bundle], Awaitable[None]],
    now: Callable[[], Nanoseconds],
    grace: float,
) -> None:
    """Publish what the stages have left as lost, in `grace` seconds if anybody makes it wait."""
    left = sum(line.left for line in lines)
    if left:
        log.error("%d reads were not processed in time; they are recorded as gaps", left)
    with trio.move_on_after(max(grace, RECORDS)) as scope:
        for line in list(lines):
            await line.publish_rest(publish, now)
    if scope.cancelled_caught:
        log.error("not all of it could be recorded: the sink did not take the records")
