"""Faults whose moment came and passed, and that hit nothing: a test with them tests nothing."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Protocol

from farm.testing.faults.fault import Fault
from farm.testing.faults.log import FaultEvent
from farm.testing.faults.script import FaultScript
from farm.testing.faults.text import fault_text, seed_text

__all__ = ["FaultNeverStruck", "annotated", "never_struck", "warning_text"]

_MOST_NAMES = 3


class FaultNeverStruck(UserWarning):
    """A fault of a test hit nothing: its stream, say, has another name."""


class Stricken(Protocol):
    """What faults strike: an exchange."""

    @property
    def fault_log(self) -> Sequence[FaultEvent]:
        """What faults did."""

    @property
    def faults_begun(self) -> Sequence[Fault]:
        """Those whose moment has come."""

    @property
    def streams_followed(self) -> Collection[str]:
        """Streams to which there has been a subscription."""


def never_struck(exchanges: Iterable[Stricken]) -> list[Fault]:
    """The faults whose moment came at one of these exchanges at least, and that hit nothing at any
    of them; in the order of their moments."""
    begun: dict[int, Fault] = {}
    struck: set[int] = set()
    for exchange in exchanges:
        begun |= {id(fault): fault for fault in exchange.faults_begun}
        struck |= {id(event.fault) for event in exchange.fault_log if event.count}
    return [fault for key, fault in begun.items() if key not in struck]


def warning_text(fault: Fault, followed: Collection[str]) -> str:
    """What is said of a fault that never struck. `followed`: streams that were subscribed to."""
    text = f"the fault {fault_text(fault)!r} never struck anything"
    stream = getattr(fault, "stream", None)
    if stream is None or any(fnmatchcase(name, stream) for name in followed):
        return text
    if not followed:
        return f"{text}: nobody was subscribed to any stream"
    return f"{text}: nobody was subscribed to {stream!r}, but to {_near(stream, followed)}"


def annotated(script: FaultScript, never: Iterable[Fault]) -> str:
    """The script's text, in which comments say what never struck."""
    marked = {id(fault) for fault in never}
    lines = [] if script.seed is None else [seed_text(script.seed)]
    for fault in script:
        lines.append(fault_text(fault))
        if id(fault) in marked:
            lines.append("# ^ never struck")
    return "\n".join(lines)


def _near(stream: str, followed: Collection[str]) -> str:
    """The names that look most like one, whatever their case; else some of them."""
    names = {name.lower(): name for name in sorted(followed)}
    close = difflib.get_close_matches(stream.lower(), names, _MOST_NAMES)
    return ", ".join(names[name] for name in close or list(names)[:_MOST_NAMES])
