"""Shards within the process of the test: a whole cluster in memory, under a virtual clock."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any
from unittest import mock

import attrs
import trio

from farm import Farm, open_farm
from farm.cluster.shard import run_shard
from farm.cluster.sources import ClusterSources
from farm.pipeline import Environment
from farm.testing import FarmWorld
from farm.testing.network import BUFFER_BYTES, MemoryStream

__all__ = ["ClusterWorld", "InProcess", "sources_of"]


@attrs.define(eq=False)
class InProcess:
    """A shard that is a task: what :class:`~farm.cluster.process.ShardProcess` is to its parent.

    Its death is as sudden as a process's: the stream ends behind what was sent, the exchange's
    connections are reset, and nothing that it had begun comes to anything.
    """

    name: str
    stream: MemoryStream
    _end: MemoryStream
    _world: ClusterWorld
    gone: trio.Event = attrs.field(factory=trio.Event)
    reason: str = ""
    dead: bool = False
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _runs: trio.Event = attrs.field(factory=trio.Event)
    _connections: list[MemoryStream] = attrs.field(factory=list)

    @property
    def pid(self) -> int:
        return os.getpid()

    @property
    def last_lines(self) -> tuple[str, ...]:
        return ()

    # ---------------------------------------------------------------------------- for the parent
    async def wait(self) -> str:
        await self.gone.wait()
        return self.reason

    def kill(self) -> None:
        """SIGKILL."""
        if not self.gone.is_set():
            self._ended("killed by SIGKILL")

    async def aclose(self) -> None:
        self.kill()
        await self.stream.aclose()

    # ------------------------------------------------------------------------------ for the test
    def stop(self) -> None:
        """SIGSTOP: it reads nothing and sends nothing, until it is killed or goes on."""
        self._runs = trio.Event()

    def go_on(self) -> None:
        """SIGCONT."""
        self._runs.set()

    async def run(self) -> None:
        """The shard's task."""
        self._runs.set()
        _shard.set(self)
        with self._scope:
            try:
                await run_shard(_Gate(self._end, self.until_it_runs), environment=self._environment)
            except Exception as error:  # noqa: BLE001 (as a process, it ends by whatever that is)
                self._ended(f"exit code 1: {error!r}")
            else:
                self._ended("exit code 0")
        self._ended("killed by SIGKILL")  # the farm is at its end

    def _ended(self, reason: str) -> None:
        if self.gone.is_set():
            return
        self.dead = reason.startswith("killed")
        self.reason = reason
        self.gone.set()
        self._end._close()  # what it sent is still read, then the end
        for connection in self._connections:
            connection.reset()
        self._scope.cancel()

    @property
    def _environment(self) -> Environment:
        return attrs.evolve(
            FarmWorld.environment.fget(self._world),  # type: ignore[attr-defined]
            seed=None,  # its parent tells it
            open_stream=self._open_stream,
            run_sync=self._run_sync,
        )

    async def until_it_runs(self) -> None:
        while self.dead or not self._runs.is_set():
            if self.dead:
                await trio.sleep_forever()
            await self._runs.wait()

    async def _open_stream(self, host: str, port: int) -> trio.abc.Stream:
        await self.until_it_runs()
        stream = await self._world.network.open_stream(host, port)
        assert isinstance(stream, MemoryStream)
        self._connections.append(stream)
        return _Gate(stream, self.until_it_runs)

    async def _run_sync(self, work: Callable[[], Any]) -> Any:
        await trio.lowlevel.checkpoint()
        await self.until_it_runs()
        return work()


class _Gate(trio.abc.HalfCloseableStream):
    """A stream of a process that may be stopped."""

    def __init__(self, stream: MemoryStream, until_it_runs: Callable[[], Any]) -> None:
        self._stream = stream
        self._until_it_runs = until_it_runs

    def is_readable(self) -> bool:
        return self._stream.is_readable()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await self._until_it_runs()
        try:
            return await self._stream.receive_some(max_bytes)
        finally:
            await self._until_it_runs()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._until_it_runs()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


_shard: ContextVar[InProcess] = ContextVar("shard")


@attrs.define(eq=False)
class ClusterWorld(FarmWorld):
    """A world whose farms start their shards in it.

    Links have room for `link_bytes` and take `link_delay` seconds. ``started`` has every process
    that there was. ``loads``: the share of a core that a shard is said to take, by its name.
    """

    link_bytes: int = BUFFER_BYTES
    link_delay: float = 0.0
    started: list[InProcess] = attrs.field(factory=list)
    loads: dict[str, float] = attrs.field(factory=dict)
    may_start: Callable[[str], bool] = attrs.field(default=lambda _name: True)
    _cpu: dict[str, tuple[float, float]] = attrs.field(factory=dict)

    @property
    def environment(self) -> Environment:
        """As a farm is given it: with processes of its own kind."""
        environment = FarmWorld.environment.fget(self)  # type: ignore[attr-defined]
        return attrs.evolve(environment, start_shard=self.start)

    async def start(self, name: str, nursery: trio.Nursery) -> InProcess:
        """Start a shard; one that may not start ends at once."""
        await trio.lowlevel.checkpoint()
        ours, theirs = MemoryStream.pair(limit=self.link_bytes, delay=self.link_delay)
        process = InProcess(name, ours, theirs, self)
        self.started.append(process)
        if self.may_start(name):
            nursery.start_soon(process.run, name=name)
        else:
            process._ended("exit code 3: it can't be")
        return process

    def shard(self, number: int) -> InProcess:
        """The process of this shard, the one that lives."""
        name = f"shard {number}"
        (process,) = [p for p in self.started if p.name == name and not p.gone.is_set()]
        return process

    @property
    def living(self) -> list[str]:
        """The names of the processes that live."""
        return sorted(p.name for p in self.started if not p.gone.is_set())

    @asynccontextmanager
    async def farm(self, config: dict[str, Any]) -> AsyncIterator[Farm]:
        """A farm, whose exchanges are open."""
        with self._clocked():
            async with open_farm(config, environment=self.environment) as farm:
                yield farm

    @contextmanager
    def _clocked(self) -> Iterator[None]:
        """What processes say of their CPU is what the test wants."""
        clock = SimpleNamespace(process_time=self._cpu_time)
        with mock.patch("farm.cluster.reporting.time", clock):
            yield

    def _cpu_time(self) -> float:
        name, now = _shard.get().name, trio.current_time()
        before, spent = self._cpu.get(name, (now, 0.0))
        spent += (now - before) * self.loads.get(name, 0.1)
        self._cpu[name] = now, spent
        return spent


def sources_of(farm: Farm) -> ClusterSources:
    """Who opens its lines."""
    sources = farm._pipeline.sources
    assert isinstance(sources, ClusterSources)
    return sources
