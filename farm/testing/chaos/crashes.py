"""Crashes of farm's own actors, as a bug of ours would cause them."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import attrs

from farm.pipeline import Pipeline

__all__ = ["Crash", "CrashError", "Stage", "crash"]


class CrashError(Exception):
    """What the actors crash with here."""


class Stage(Enum):
    """Where it happens; of several actors, to the first."""

    CONNECTION = "connection"
    PARSER = "parser"
    AGGREGATOR = "aggregator"
    SINK = "sink"


@attrs.frozen
class Crash:
    """At ``at`` seconds the actor crashes on its next item, before it has done its work or
    ``after`` it has; and ``times`` times on the same."""

    at: float
    stage: Stage
    after: bool = False
    times: int = 1

    def __str__(self) -> str:
        when = "after" if self.after else "before"
        return f"# {self.at:g} crash {self.stage.value} {when} its work, {self.times} times"


def crash(pipeline: Pipeline, planned: Crash) -> None:
    """Have it happen; nothing does where there is no such actor."""
    for place in _places(pipeline, planned.stage):
        _break(*place, planned)


def _places(pipeline: Pipeline, stage: Stage) -> list[tuple[object, str]]:
    """The work that an actor does on each item: whose it is, and by what name."""
    line = pipeline.lines[0]
    match stage:
        case Stage.CONNECTION:
            return [(lane.source, "put") for lane in line.lanes[:1] if lane.source is not None]
        case Stage.PARSER:
            return [(lane.session, "_take") for lane in line.lanes[:1]]
        case Stage.AGGREGATOR:
            return [(line.keeper, "take")]
        case Stage.SINK:
            return [] if pipeline.store is None else [(pipeline.store, "add")]


def _break(owner: object, name: str, planned: Crash) -> None:
    work: Callable[..., Any] = getattr(owner, name)
    left = planned.times

    def crashing(*args: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            delattr(owner, name)  # the class's own is back
        if planned.after:
            work(*args)
        raise CrashError(f"on purpose, in {name}")

    setattr(owner, name, crashing)
