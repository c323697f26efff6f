"""A parent that is slow, or stands still, costs no shard its life and no connection its pongs."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator

import pytest
import trio

from farm import open_farm
from farm.cluster.outlet import LINK_EDGE
from farm.cluster.process import start_process
from farm.pipeline import Environment
from farm.pipeline.environment import StartedProcess
from farm.types import GapCause
from tests.cluster.farms import (
    IN_FLIGHT,
    Cluster,
    config_at,
    nothing_is_left,
    open_cluster,
    open_served,
    see_accounted,
    see_crash_gaps,
    see_reconciled,
)
from tests.farms import until


@pytest.fixture(autouse=True)
def _nothing_is_left(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with nothing_is_left(caplog):
        yield


async def test_a_body_that_stops_the_loop_costs_no_shard_and_no_connection() -> None:
    with open_served(rate=3000.0) as endpoints:
        config = config_at(
            endpoints,
            subscriber_bytes=100_000,
            cluster={"heartbeat_seconds": 0.1, "hang_seconds": 1.0},
        )
        async with trio.open_nursery() as nursery, open_farm(config) as farm:
            cluster = Cluster(farm, {})
            await nursery.start(cluster.read)
            await cluster.trading()
            pids = cluster.pids()
            time.sleep(3.0)  # noqa: ASYNC251 (that is the point)
            await cluster.trading()
            assert cluster.pids() == pids
        stats = farm.stats()
    see_reconciled(stats)
    assert [process.restarts for process in stats.processes] == [0, 0, 0]
    assert stats.totals.reconnects == 0
    assert [connection.connects for connection in stats.connections] == [1, 1]
    assert any(gap.edge == LINK_EDGE for gap in cluster.gaps)
    assert {gap.cause for gap in cluster.gaps} == {GapCause.OVERFLOW}


class Dam:
    """Starts shards of which little is read while the dam is closed."""

    def __init__(self) -> None:
        self._opened = trio.Event()
        self._opened.set()

    def close(self) -> None:
        self._opened = trio.Event()

    def open(self) -> None:
        self._opened.set()

    async def __call__(self, name: str, nursery: trio.Nursery) -> StartedProcess:
        process = await start_process(name, nursery)
        receive = process.stream.receive_some

        async def receive_some(max_bytes: int | None = None) -> bytes:
            if self._opened.is_set():
                return bytes(await receive(max_bytes))
            with trio.move_on_after(0.25):
                await self._opened.wait()
            return bytes(await receive(1024))

        process.stream.receive_some = receive_some  # type: ignore[method-assign]
        return process


@pytest.fixture
def _narrow_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little is on its way from one process to the other."""
    make_pair = socket.socketpair

    def narrow_pair() -> tuple[socket.socket, socket.socket]:
        pair = make_pair()
        for end in pair:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return pair

    monkeypatch.setattr(socket, "socketpair", narrow_pair)


@pytest.mark.usefixtures("_narrow_links")
async def test_what_waits_for_the_parent_when_its_shard_is_killed_is_in_its_gap() -> None:
    dam = Dam()
    async with open_cluster(
        environment=Environment(start_shard=dam),
        cluster={"hang_seconds": 60.0},
        subscriber_bytes=20_000,
    ) as cluster:
        await cluster.trading()
        dam.close()
        closed = time.time_ns()
        await until(lambda: time.time_ns() > closed + 2 * IN_FLIGHT)
        hit = await cluster.hit(1, signal.SIGKILL)
        dam.open()
        await cluster.replaced(hit)
        assert cluster.process(1).reason.endswith("killed by SIGKILL")  # maybe within a frame
        await cluster.trading()
    overflows = [gap for gap in cluster.gaps if gap.edge == LINK_EDGE]
    assert {gap.cause for gap in overflows} <= {GapCause.OVERFLOW}
    see_crash_gaps((gap for gap in cluster.gaps if gap not in overflows), hit)
    see_accounted(cluster.fakes, cluster.trades, cluster.gaps)
