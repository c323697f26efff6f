"""The interpreter that runs a shard: the same program as this, and the same farm."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import attrs

from farm.errors import ShardError

__all__ = ["Interpreter", "this_interpreter"]

ONE_PROCESS = "use processes = 1"

# What a shard imports: farm, and what it stands on.
_PACKAGES = ("farm", "trio", "trio_websocket", "attrs", "cattrs", "msgspec", "numpy", "pyarrow")

_ASK = """\
import importlib.util, json, sys
specs = map(importlib.util.find_spec, sys.argv[1:])
print(json.dumps([spec and spec.origin for spec in specs]))
"""

_ASK_SECONDS = 60.0  # an interpreter on a slow disk takes a few

_SITE_DIRECTORIES = {"site-packages", "dist-packages"}


@attrs.frozen
class Interpreter:
    """How to start another: ``command`` without the program to run; ``directories`` are those that
    it would not find by itself."""

    command: tuple[str, ...]
    directories: tuple[str, ...] = ()

    def environment(self) -> dict[str, str]:
        """This process's as it is now, and the directories. What this interpreter was told to
        ignore (``-E``, ``-I``) is not handed on."""
        handed = dict(os.environ)
        if sys.flags.ignore_environment:
            handed = {name: v for name, v in handed.items() if not name.startswith("PYTHON")}
        if self.directories:
            known = handed.get("PYTHONPATH")
            path = [*self.directories, *([known] if known else [])]  # an empty one is the cwd
            handed["PYTHONPATH"] = os.pathsep.join(path)
        return handed


@cache
def this_interpreter() -> Interpreter:
    """An interpreter that imports what this one imported, and nothing from the directory where it
    is started. Blocks (it asks one, the first time).

    ShardError where there can be none.
    """
    if os.name != "posix":
        raise ShardError(f"several processes need a Unix system; {ONE_PROCESS}")
    if not sys.executable or getattr(sys, "frozen", False):
        raise ShardError(
            "several processes need a Python to start, and this one is part of another program; "
            f"{ONE_PROCESS}"
        )
    # Not the user's directory, which may hold a types.py; crashes of C code tell where they were;
    # what is printed is heard though the process be killed.
    own = ("-s",) if sys.flags.no_user_site else ()
    bare = Interpreter((sys.executable, "-P", *own, "-X", "faulthandler", "-u"))
    return attrs.evolve(bare, directories=_directories_to_add(bare))


def _directories_to_add(bare: Interpreter) -> tuple[str, ...]:
    """Where this process found what a new interpreter would not find, or find elsewhere, or would
    no longer find from another directory."""
    directories: list[str] = []
    tied = _is_tied_to_cwd(bare.environment().get("PYTHONPATH"))
    for package, origin in zip(_PACKAGES, _origins_elsewhere(bare), strict=True):
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None or (spec.origin == origin and not tied):
            continue
        directory = Path(spec.origin).parent.parent
        if directory.name not in _SITE_DIRECTORIES:
            if str(directory) not in directories:
                directories.append(str(directory))
        elif origin is None or (package == "farm" and spec.origin != origin):
            # All of such a directory before the standard library would be worse than none of it.
            raise ShardError(
                f"{package} was imported from {directory}, where {sys.executable} does not look "
                f"for it: install farm for that Python, or {ONE_PROCESS}"
            )
    return tuple(directories)


def _is_tied_to_cwd(path: str | None) -> bool:
    """Whether it leads elsewhere once this process, whose children start where it is, has gone to
    another directory."""
    return not all(map(os.path.isabs, path.split(os.pathsep))) if path else False


def _origins_elsewhere(bare: Interpreter) -> list[str | None]:
    """The files that a new interpreter would import the packages from; None where it has none."""
    try:
        answer = subprocess.run(  # noqa: S603 (it is this interpreter)
            [*bare.command, "-c", _ASK, *_PACKAGES],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=bare.environment(),
            timeout=_ASK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _none_starts(f"it does not answer within {_ASK_SECONDS:g} s") from None
    except OSError as error:
        raise _none_starts(str(error)) from error
    try:
        origins: list[str | None] = json.loads(answer.stdout)
    except ValueError:
        said = answer.stderr.decode("utf-8", "replace").strip().splitlines() or ["it says nothing"]
        errors = [line for line in said if "error" in line.lower()]
        raise _none_starts((errors or said)[-1]) from None
    return origins


def _none_starts(reason: str) -> ShardError:
    return ShardError(
        f"several processes need a Python to start, and {sys.executable} does not start as one "
        f"({reason}); {ONE_PROCESS}"
    )
