"""``farm status``: whether all is well with a farm, for people, scripts and probes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.text import Text

from farm.api.health import HealthState
from farm.cli.exits import FAILED, fail, usage
from farm.cli.options import AsJson
from farm.cli.ps import memory_text, print_text, rate_text, share_text
from farm.monitor.running import ask_farms

__all__ = ["NO_ANSWER", "STARTING", "status"]

NO_ANSWER = 3
STARTING = 4

_CODES = {
    HealthState.WELL.value: 0,
    HealthState.UNWELL.value: FAILED,
    HealthState.STARTING.value: STARTING,
}
_STYLES = {
    HealthState.WELL.value: "bold green",
    HealthState.UNWELL.value: "bold red",
    HealthState.STARTING.value: "bold yellow",
}


async def status(
    data: Annotated[Path | None, Parameter(help="The farm that stores here.")] = None,
    /,
    *,
    pid: Annotated[int | None, Parameter(help="The farm with this process id.")] = None,
    as_json: AsJson = False,
) -> int:
    """Say whether all is well with a running farm.

    Exit codes: 0 all is well, 1 something is wrong, 2 the command line can't be used (several farms
    run, and none is named), 3 no farm answers, 4 it is still starting.
    """
    farms = await ask_farms("status", data, pid)
    named = "".join(
        [f" with pid {pid}" * (pid is not None), f" that stores in {data}" * (data is not None)]
    )
    if not farms:
        return fail(f"no farm runs{named}", NO_ANSWER)
    if len(farms) > 1:
        found = ", ".join(map(str, farms))
        return usage(f"{len(farms)} farms run{named}; name one by --pid: {found}")
    (farm,) = farms
    if farm.answer is None:
        return fail(f"the farm {farm.pid} does not answer: {farm.error}", NO_ANSWER)
    if as_json:
        print(json.dumps(farm.answer, indent=2))
    else:
        _print(farm.answer)
    return _CODES[farm.answer["state"]]


def _print(answer: dict[str, Any]) -> None:
    state, where = answer["state"], answer["data"] or "nothing is stored"
    line = Text(state, style=_STYLES[state])
    line.append(f"   farm {answer['pid']}   since {answer['since']}   {where}", style="not bold")
    print_text(line)
    for name, style in (("problems", "red"), ("pending", "yellow"), ("losses", "")):
        for sentence in answer[name]:
            print_text(Text(f"  {sentence}", style=style))
    for process in answer["processes"]:
        figures = [
            f"{process['name']} {process['state']}",
            f"pid {process['pid']}",
            f"{process['connections']:,} connections",
            f"{process['events']:,} events",
            rate_text(process["rate"]) and f"{rate_text(process['rate'])} a second",
            memory_text(process["memory"]),
            share_text(process["cpu"]) and f"{share_text(process['cpu'])} of a core",
            f"{process['restarts']:,} restarts",
        ]
        print_text(Text("  " + "  ".join(filter(None, figures))))
