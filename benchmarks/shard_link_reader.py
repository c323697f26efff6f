"""The parent's end of a link: ``python -m benchmarks.shard_link_reader LINK BELL``.

A message ``READ PACE`` begins a run. READ says what is done with the bundles that follow:
``columns`` looks at two of each batch, ``objects`` at each event, ``nothing`` does not even decode.
An empty message ends the run, and is answered with its CPU seconds and events, as JSON. BELL, a
socket, gets a byte for the message that begins, and with PACE ``paced`` for every bundle.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from typing import Any

import trio

from farm.batch import Batch
from farm.cluster.codec import decode_bundle
from farm.cluster.link import FrameKind, Link
from farm.entities import BookUpdate, Quote, Trade

__all__ = ["READ"]

READ: dict[type[Any], tuple[str, str]] = {
    Trade: ("price", "quantity"),
    Quote: ("bid_price", "ask_price"),
    BookUpdate: ("receive_time", "bid_levels"),
}
"""The two columns that are looked at."""


def _look(batch: Batch[Any], read: str) -> int:
    """How many events were looked at."""
    if read == "objects":
        return sum(1 for _ in batch)
    columns = batch.columns
    first, second = READ[batch.kind]
    return min(len(columns[first]), len(columns[second]))


async def _read(link: Link, bell: int) -> None:
    read, paced, events, cpu = "", False, 0, 0.0
    while frames := await link.receive():
        for kind, payload in frames:
            if kind is FrameKind.BUNDLE:
                if read != "nothing":
                    events += sum(_look(batch, read) for batch in decode_bundle(payload).batches)
                if paced:
                    os.write(bell, b"x")
            elif payload:
                read, _, pace = payload.decode().partition(" ")
                paced, events, cpu = pace == "paced", 0, time.process_time()
                os.write(bell, b"x")
            else:
                told = {"parent": time.process_time() - cpu, "events": events}
                await link.send([(FrameKind.MESSAGE, json.dumps(told).encode())])


async def _main(link: int, bell: int) -> None:
    end = trio.socket.from_stdlib_socket(socket.socket(fileno=link))
    await _read(Link(trio.SocketStream(end)), bell)


if __name__ == "__main__":
    trio.run(_main, int(sys.argv[1]), int(sys.argv[2]))
