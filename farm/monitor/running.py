"""The farms of a user's that run on this machine, found by their sockets."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import trio

from farm.errors import ControlError
from farm.monitor.control import ANSWER_SECONDS, ask_control
from farm.monitor.runtime import is_alive, remove_dead, runtime_directory, sockets_of_data

__all__ = ["RunningFarm", "ask_farms"]


@attrs.frozen
class RunningFarm:
    """A farm whose socket was found: its answer, or why there is none. ``pid`` is that of the
    socket's name, ``answer`` has the ``data`` directory or None."""

    socket: Path
    pid: int
    answer: dict[str, Any] | None = None
    error: str = ""

    def __str__(self) -> str:
        if self.answer is None:
            return f"{self.pid} (does not answer)"
        return f"{self.pid} ({self.answer.get('data') or 'stores nothing'})"

    def stores_in(self, data: Path) -> bool:
        """Whether it stores in this directory, as far as is known."""
        if self.answer is None:
            return self.socket.is_relative_to(data.resolve())
        return bool(self.answer.get("data") == str(data.resolve()))


async def ask_farms(
    what: str,
    data: Path | None = None,
    pid: int | None = None,
    *,
    timeout: float = ANSWER_SECONDS,
) -> list[RunningFarm]:
    """Ask all farms of the user; with `data` those that store there, with `pid` that one. Each has
    `timeout` seconds to answer.

    ControlError where the directory with their sockets can't be trusted.
    """
    paths = _sockets(data)
    farms: list[RunningFarm] = []

    async def ask(number: int, path: Path) -> None:
        try:
            farms.append(RunningFarm(path, number, await ask_control(path, what, timeout)))
        except ControlError as error:
            if is_alive(path):  # else it has just ended
                farms.append(RunningFarm(path, number, None, str(error)))

    async with trio.open_nursery() as nursery:
        for path in paths:
            if path.stem.isdecimal() and pid in (None, int(path.stem)):
                nursery.start_soon(ask, int(path.stem), path)
    found = [farm for farm in farms if data is None or farm.stores_in(data)]
    return sorted(found, key=lambda farm: farm.pid)


def _sockets(data: Path | None) -> set[Path]:
    """Where links lead is meant: a farm with a data directory has its socket there."""
    paths = [] if data is None else sockets_of_data(data)
    with suppress(FileNotFoundError):  # no farm of this user's has run yet
        paths += remove_dead(runtime_directory(make=False))
    return {path.resolve() for path in paths}
