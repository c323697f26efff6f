"""ccxt.pro's watchTrades: one loop for each symbol, as its manual has it.

What comes while its caller is busy waits in a list of a thousand trades a symbol, the newest; what
falls out of it is not told.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

from benchmarks.contenders.tally import Tally
from benchmarks.contenders.task import Task, given_task


def local(urls: Any, task: Task) -> Any:
    """All of its addresses, turned to this machine: nothing shall go anywhere else."""
    if isinstance(urls, dict):
        return {name: local(url, task) for name, url in urls.items()}
    if isinstance(urls, str) and urls.startswith("ws"):
        return f"{task.ws}/stream/ws"  # by "/stream" it knows the spot market
    return f"{task.rest}/api/v3" if isinstance(urls, str) else urls


async def watch(exchange: Any, symbol: str, task: Task, tally: Tally, left: list[str]) -> None:
    last = task.first_id + (task.symbols.index(symbol) + 1) * task.of_each - 1
    name = f"{symbol.removesuffix('USDT')}/USDT"
    while True:
        for trade in await exchange.watch_trades(name):
            tally.take(trade["id"], trade["amount"])
            if int(trade["id"]) == last:
                left.remove(symbol)
        if not left:
            tally.finish()


async def main(task: Task) -> None:
    exchange = import_module("ccxt.pro").binance({"options": {"fetchMarkets": {"types": ["spot"]}}})
    exchange.urls["api"] = local(exchange.urls["api"], task)
    exchange.cafile = task.authority or exchange.cafile
    tally, left = Tally(task), list(task.symbols)
    await exchange.load_markets()
    async with asyncio.TaskGroup() as tasks:
        for symbol in task.symbols:
            tasks.create_task(watch(exchange, symbol, task, tally, left))


if __name__ == "__main__":
    asyncio.run(main(given_task()))
