"""Where a benchmark ran: the machine, the interpreter, and the packages that took part."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["machine", "now", "pin", "versions"]

_PACKAGES = (
    "collector-farm",
    "trio",
    "trio-websocket",
    "msgspec",
    "attrs",
    "cattrs",
    "numpy",
    "orjson",
    "websockets",
    "aiohttp",
    "picows",
    "uvloop",
    "sortedcontainers",
    "order_book",
    "cryptofeed",
    "ccxt",
)


def machine() -> dict[str, str]:
    """Processor, cores, system and Python."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def versions() -> dict[str, str]:
    """The versions of the packages that are installed here."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    """The present day and minute, UTC."""
    return datetime.now(UTC).isoformat(timespec="minutes")


def pin(core: int) -> None:
    """Keep this process on one core, where the system can: client and server take one each."""
    if hasattr(os, "sched_setaffinity"):
        available = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {available[core % len(available)]})


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"
