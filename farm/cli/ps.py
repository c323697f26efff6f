"""``farm ps``: the farms that run, and their processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from farm.cli.options import AsJson
from farm.monitor.running import RunningFarm, ask_farms

__all__ = ["memory_text", "print_text", "ps", "rate_text", "share_text"]

_TITLES = ("process", "pid", "state")
_NUMBERS = ("connections", "events/s", "memory", "CPU", "restarts")
_STATE_STYLE = {"running": "green", "starting": "yellow", "stopped": "yellow"}


async def ps(
    data: Annotated[Path | None, Parameter(help="Those alone that store here.")] = None,
    /,
    *,
    as_json: AsJson = False,
) -> int:
    """List your farms that run on this machine, and the processes of each."""
    farms = await ask_farms("ps", data)
    if as_json:
        print(json.dumps({"farms": [_object(farm) for farm in farms]}, indent=2))
        return 0
    if not farms:
        print("no farm runs" + (f" that stores in {data}" if data is not None else ""))
    for farm in farms:
        _print(farm)
    return 0


def _object(farm: RunningFarm) -> dict[str, Any]:
    known = {"pid": farm.pid, "socket": str(farm.socket)}
    return known | ({"error": farm.error} if farm.answer is None else farm.answer)


def _print(farm: RunningFarm) -> None:
    if farm.answer is None:
        print_text(Text(f"farm {farm.pid}   does not answer: {farm.error}", style="bold red"))
        return
    where = farm.answer["data"] or "nothing is stored"
    print_text(Text(f"farm {farm.pid}   since {farm.answer['since']}   {where}", style="bold"))
    _console().print(_table(farm.answer["processes"]))


def _table(processes: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in _TITLES:
        table.add_column(title, no_wrap=True)
    for title in _NUMBERS:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("last failure")
    for process in processes:
        state = process["state"]
        table.add_row(
            Text(process["name"]),
            str(process["pid"]),
            Text(state, style=_STATE_STYLE.get(state, "bold red")),
            f"{process['connections']:,}",
            rate_text(process["rate"]),
            memory_text(process["memory"]),
            share_text(process["cpu"]),
            f"{process['restarts']:,}",
            Text(process["reason"]),
        )
    return table


def rate_text(rate: float | None) -> str:
    """Events a second."""
    return "" if rate is None else f"{rate:,.1f}"


def memory_text(memory: int | None) -> str:
    """Bytes, in MiB."""
    return "" if memory is None else f"{memory / 2**20:,.0f} MiB"


def share_text(share: float | None) -> str:
    """A share of a core, in per cent."""
    return "" if share is None else f"{share:.0%}"


def print_text(text: Text) -> None:
    """A line, in colour on a terminal; as long as it is."""
    _console().print(text, soft_wrap=True)


def _console() -> Console:
    console = Console()
    # A file or a pipe has no width of its own.
    return console if console.is_terminal else Console(width=160)
