"""Processes that stand and wait: one is kept ready to take the place of a shard that fails."""

from __future__ import annotations

import logging

import attrs
import trio

from farm.cluster.link import Link
from farm.cluster.messages import Ready, decode_from_shard
from farm.errors import FarmError, ShardError
from farm.pipeline.environment import StartedProcess, StartProcess

__all__ = ["Spares", "Standing"]

log = logging.getLogger("farm.cluster")

START_SECONDS = 60.0
"""Seconds in which a process has to have imported what it needs."""

AGAIN_SECONDS = 5.0
"""Pause after a spare that did not come about, or did not stay."""


@attrs.define(eq=False)
class Standing:
    """A process that stands, and the link to it. Its pid is as itself says."""

    process: StartedProcess
    link: Link
    pid: int


class Spares:
    """Gives out processes that stand; with ``keep`` one is always started in advance."""

    def __init__(self, start: StartProcess, *, keep: bool) -> None:
        self._start = start
        self._keep = keep
        self._spare: Standing | None = None
        self._wanted = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._runs = trio.Event()

    def keep_one(self) -> None:
        """From now on; at the start all processes have enough to do."""
        self._wanted.set()

    async def run(self) -> None:
        """Run what the processes say to the log, and keep a spare, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            self._runs.set()
            try:
                while True:
                    await self._wanted.wait()
                    self._wanted = trio.Event()
                    if self._keep and self._spare is None:
                        await self._make()
            finally:
                if self._spare is not None:
                    await self._spare.process.aclose()

    async def take(self, name: str) -> Standing:
        """A process that stands, from now on named `name`. ShardError where none comes about."""
        spare, self._spare = self._spare, None
        self._wanted.set()
        if spare is None:
            return await self._stand(name)
        spare.process.name = name
        return spare

    async def _make(self) -> None:
        try:
            spare = self._spare = await self._stand("spare shard")
            assert self._nursery is not None
            self._nursery.start_soon(self._watch, spare)
        except FarmError as error:
            log.warning("no spare process: %s", error)
            await trio.sleep(AGAIN_SECONDS)
            self._wanted.set()

    async def _watch(self, spare: Standing) -> None:
        """One that dies while it waits is replaced; one that was taken is another's matter."""
        reason = await spare.process.wait()
        if spare is self._spare:
            log.warning("the spare process is gone: %s", reason)
            self._spare = None
            await spare.process.aclose()
            await trio.sleep(AGAIN_SECONDS)
            self._wanted.set()

    async def _stand(self, name: str) -> Standing:
        await self._runs.wait()
        assert self._nursery is not None
        process = await self._start(name, self._nursery)
        try:
            with trio.fail_after(START_SECONDS):
                link = Link(process.stream)
                frames = await link.receive()
                if not frames:
                    raise ShardError(f"{name} did not start: {await process.wait()}")
            ready = decode_from_shard(frames[0][1])
            if not isinstance(ready, Ready):
                raise ShardError(f"{name} did not say that it stands, but {ready!r}")
        except trio.TooSlowError:
            await process.aclose()
            raise ShardError(f"{name} did not stand within {START_SECONDS:g} s") from None
        except BaseException:
            await process.aclose()
            raise
        return Standing(process, link, ready.pid)
