"""Where cryptofeed is: version 3 needs Python 3.13, and so an interpreter of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

__all__ = ["cryptofeeds"]

_NEWER = ("python3.14", "python3.13")
_VERSION = "from importlib.metadata import version; import cryptofeed; print(version('cryptofeed'))"


def cryptofeeds() -> dict[str, tuple[str, str]]:
    """By major version, the interpreter that has it and the whole version: of this interpreter, the
    one that FARM_BENCH_PYTHON names, or else the newer ones on the path."""
    named = os.environ.get("FARM_BENCH_PYTHON")
    others = [named] if named else [shutil.which(name) for name in _NEWER]
    found: dict[str, tuple[str, str]] = {}
    for python in (sys.executable, *filter(None, others)):
        version = _version_of(python)
        if version is not None:
            found.setdefault(version.partition(".")[0], (python, version))
    return found


def _version_of(python: str) -> str | None:
    """The version of cryptofeed that an interpreter can import."""
    try:
        done = subprocess.run([python, "-c", _VERSION], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
