"""cryptofeed's own Binance feed and its TRADES callback, in version 2 or 3.

Its trades of Binance are the aggregated ones. Of its own only addresses are changed.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

from benchmarks.contenders.tally import Tally
from benchmarks.contenders.task import Task, given_task


def plain(binance: Any) -> Any:
    """Its feed without TLS, of which it wants nothing to be said in the configuration."""

    def connect(self: Any) -> Any:
        made = binance.connect(self)
        for connection, *_ in made:
            connection.address = connection.address.replace("wss:", "ws:")
        return made

    return type("PlainBinance", (binance,), {"connect": connect})


def main(task: Task) -> None:
    cryptofeed = import_module("cryptofeed")
    addresses = import_module("cryptofeed.connection")
    trades = import_module("cryptofeed.defines").TRADES
    feed = import_module("cryptofeed.exchanges").Binance
    if task.authority is None:
        feed = plain(feed)
    take = Tally(task).take

    async def on_trade(trade: Any, _receipt_timestamp: float) -> None:
        take(trade.id, trade.amount)

    routes = addresses.Routes("/api/v3/exchangeInfo")
    feed.websocket_endpoints = [addresses.WebsocketEndpoint(task.ws.replace("ws:", "wss:"))]
    feed.rest_endpoints = [addresses.RestEndpoint(task.rest, routes=routes)]
    handler = cryptofeed.FeedHandler(config={"log": {"disabled": True}, "uvloop": True})
    for part in task.parts:
        names = [f"{symbol.removesuffix('USDT')}-USDT" for symbol in part]
        handler.add_feed(feed(symbols=names, channels=[trades], callbacks={trades: on_trade}))
    if not hasattr(handler, "run_async"):  # version 2 takes a loop that is there
        asyncio.set_event_loop(asyncio.new_event_loop())
    handler.run()


if __name__ == "__main__":
    main(given_task())
