"""The commands, and what becomes of their errors."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import cyclopts

from farm import __version__
from farm.cli.collect import demo, replay, run
from farm.cli.config import config_app
from farm.cli.exits import INTERRUPTED, USAGE_ERROR, fail, usage
from farm.cli.farming import StartInterrupted
from farm.cli.ps import ps
from farm.cli.quarantine import quarantine
from farm.cli.status import status
from farm.cli.streams import streams
from farm.errors import ConfigError, FarmError

__all__ = ["app", "run_app"]

app = cyclopts.App(
    name="farm",
    help="Collect verified market data from crypto exchanges.",
    version=__version__,
    backend="trio",
)
app.command(demo)
app.command(run)
app.command(replay)
app.command(streams)
app.command(quarantine)
app.command(ps)
app.command(status)
app.command(config_app)


def run_app(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (None: the process's own) names; its exit code."""
    try:
        code = app(argv, exit_on_error=False, result_action="return_value")
    except cyclopts.CycloptsError:
        return USAGE_ERROR  # cyclopts has said what is wrong
    except ConfigError as error:
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        return usage(f"{error}{notes}")
    except FarmError as error:
        return fail(str(error))
    except StartInterrupted:
        return INTERRUPTED
    except BrokenPipeError:
        sys.stdout = None  # whoever read our output has had enough; stderr may be gone, too
        return 1
    except OSError as error:
        return fail(f"could not write: {error}")
    return code if isinstance(code, int) else 0
