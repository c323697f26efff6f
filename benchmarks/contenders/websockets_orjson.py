"""A loop by hand: websockets on uvloop, orjson, and the same objects as farm's."""

from __future__ import annotations

import asyncio
import ssl
import time

import orjson
import uvloop
from websockets.asyncio.client import connect

from benchmarks.contenders.by_hand import from_json
from benchmarks.contenders.tally import Tally
from benchmarks.contenders.task import Task, given_task


async def read(url: str, context: ssl.SSLContext | None, tally: Tally) -> None:
    take, loads, now, ordinal = tally.take, orjson.loads, time.time_ns, 0
    async with connect(url, ssl=context) as socket:
        while True:
            message = loads(await socket.recv(decode=False))
            trade = from_json(message["data"], now(), ordinal)
            ordinal += 1
            take(trade.id, trade.quantity)


async def main(task: Task) -> None:
    context = None if task.authority is None else ssl.create_default_context(cafile=task.authority)
    tally = Tally(task)
    async with asyncio.TaskGroup() as tasks:
        for url in task.urls:
            tasks.create_task(read(url, context, tally))


if __name__ == "__main__":
    uvloop.run(main(given_task()))
