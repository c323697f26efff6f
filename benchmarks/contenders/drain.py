"""No contender: it reads the bytes and looks at none, and so shows what the server can do."""

from __future__ import annotations

import json
import selectors
import socket
import ssl
import time
from urllib.parse import urlsplit

from benchmarks.contenders.task import Task, given_task

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
READ = 1 << 18
ENOUGH = 0.5
"""Seconds without a byte after which it ends."""


def main(task: Task) -> None:
    selector = selectors.DefaultSelector()
    for url in task.urls:
        parts = urlsplit(url)
        sock = socket.create_connection((parts.hostname, parts.port))
        if task.authority is not None:
            context = ssl.create_default_context(cafile=task.authority)
            sock = context.wrap_socket(sock, server_hostname=parts.hostname)
        sock.sendall(HANDSHAKE.format(path=f"{parts.path}?{parts.query}").encode())
        sock.recv(READ)
        selector.register(sock, selectors.EVENT_READ, sock)
    selector.select()
    start, cpu, stop = time.monotonic(), time.process_time(), 0.0
    while ready := selector.select(ENOUGH):
        for key, _ in ready:
            socket.socket.recv(key.data, READ)  # what is sealed stays sealed
        stop = time.monotonic()
    print(
        json.dumps(
            {
                "events": task.total,
                "seconds": stop - start,
                "cpu": time.process_time() - cpu,
                "volume": None,
            }
        )
    )


if __name__ == "__main__":
    main(given_task())
