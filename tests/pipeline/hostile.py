"""Venues that mean harm, for a farm to collect from."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from farm import Exchange, Market
from farm.testing import FakeBinance, FarmWorld, FaultScript, MarketSimulator, Recorded, open_fake
from farm.testing.port import HOST
from farm.testing.wire import text_frame

FLOOD_FRAMES = 2_000
"""On each connection."""

_CHUNK = 60_000
_SNAPSHOT = b'{"lastUpdateId":1,"E":1,"T":1,"bids":[["1","1"]],"asks":[["2","1"]]}'


class FloodingBinance:
    """Takes every subscription to Binance USD-M, and then sends as fast as it can what `say` makes
    of the frame's number. ``sent`` counts frames, ``connections`` those who came."""

    def __init__(self, world: FarmWorld, say: Callable[[int], bytes]) -> None:
        self.sent = 0
        self.connections = 0
        self._network = world.network
        self._say = say

    async def open(self, nursery: trio.Nursery) -> dict[str, Any]:
        """Serve in `nursery`; the collector of it."""
        numbers = []
        for serve in (self._serve_frames, self._serve_snapshots):
            number = self._network.bind()
            listeners = [self._network.listen(number)]
            await nursery.start(partial(trio.serve_listeners, serve, listeners))
            numbers.append(number)
        ws, rest = numbers
        return {
            "exchange": "binance",
            "market": "usdm",
            "symbols": ["BTCUSDT"],
            "streams": ["trade", "quote", "book"],
            "endpoints": {"ws": f"ws://{HOST}:{ws}", "rest": f"http://{HOST}:{rest}"},
        }

    async def _serve_frames(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        try:
            async with trio.open_nursery() as nursery:
                await self._listen(stream, nursery)
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _listen(self, stream: trio.abc.Stream, nursery: trio.Nursery) -> None:
        protocol, flooding = WSConnection(ConnectionType.SERVER), False
        while data := await stream.receive_some():
            protocol.receive_data(bytes(data))
            for event in protocol.events():
                if isinstance(event, Request):
                    await stream.send_all(protocol.send(AcceptConnection()))
                elif isinstance(event, TextMessage) and not flooding:
                    reply = {"result": None, "id": json.loads(event.data)["id"]}
                    await stream.send_all(text_frame(json.dumps(reply).encode()))
                    nursery.start_soon(self._flood, stream)
                    flooding = True
                elif isinstance(event, CloseConnection):
                    return

    async def _flood(self, stream: trio.abc.Stream) -> None:
        left = FLOOD_FRAMES
        while left:
            chunk = bytearray()
            while left and len(chunk) < _CHUNK:
                chunk += self._say(self.sent)
                self.sent += 1
                left -= 1
            await stream.send_all(chunk)
            await trio.sleep(0.001)

    async def _serve_snapshots(self, stream: trio.abc.Stream) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(_SNAPSHOT)
        try:
            while await stream.receive_some():
                await stream.send_all(head + _SNAPSHOT)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)


class BadRest(FakeBinance):
    """Binance spot, whose REST side says `head` and then `piece` for ever, from the second second
    on; then also all connections are reset, so that it is asked."""

    def __init__(self, world: FarmWorld, head: bytes, piece: bytes, every: float) -> None:
        source = MarketSimulator(
            Exchange.BINANCE, Market.SPOT, ["BTCUSDT", "ETHUSDT"], seed=3, rate=6.0, levels=60
        )
        super().__init__(
            source,
            pace=Recorded(),
            network=world.network,
            faults=FaultScript().reset(at=2.0),
        )
        self.asked = 0
        self._words = head, piece, every

    async def open(self, nursery: trio.Nursery) -> dict[str, Any]:
        """Serve in `nursery`; the collector of it."""
        await nursery.start(self._serve)
        return {
            "exchange": "binance",
            "market": "spot",
            "symbols": ["BTCUSDT", "ETHUSDT"],
            "streams": ["trade", "quote", "book"],
            "endpoints": {"ws": self.ws_url, "rest": self.rest_url},
        }

    async def _serve(self, task_status: trio.TaskStatus[None]) -> None:
        async with open_fake(self):
            task_status.started()
            await trio.sleep_forever()

    async def _serve_rest(self, plain: trio.abc.Stream) -> None:
        if trio.current_time() < 1.9:
            await super()._serve_rest(plain)
            return
        head, piece, every = self._words
        try:
            while await plain.receive_some():
                self.asked += 1
                await plain.send_all(head)
                while piece:
                    await plain.send_all(piece)
                    await trio.sleep(every)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(plain)
