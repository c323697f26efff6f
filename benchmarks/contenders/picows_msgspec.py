"""Callbacks by hand: picows on uvloop, msgspec, and the same objects as farm's."""

from __future__ import annotations

import asyncio
import ssl
import time

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from benchmarks.contenders.by_hand import COMBINED, from_wire
from benchmarks.contenders.tally import Tally
from benchmarks.contenders.task import Task, given_task


class Reader(WSListener):
    """One connection."""

    def __init__(self, tally: Tally) -> None:
        self._take = tally.take
        self._ordinal = 0

    def on_ws_frame(self, _transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            wire = COMBINED.decode(frame.get_payload_as_memoryview()).data
            trade = from_wire(wire, time.time_ns(), self._ordinal)
            self._ordinal += 1
            self._take(trade.id, trade.quantity)


async def main(task: Task) -> None:
    context = None if task.authority is None else ssl.create_default_context(cafile=task.authority)
    tally = Tally(task)
    async with asyncio.TaskGroup() as tasks:
        for url in task.urls:
            transport, _ = await ws_connect(lambda: Reader(tally), url, ssl_context=context)
            tasks.create_task(transport.wait_disconnected())


if __name__ == "__main__":
    uvloop.run(main(given_task()))
