"""From a host and a port to a connected stream: the one way out to the network.

Trio's own ``open_tcp_stream`` looks names up in a thread of its own choice. Here that goes through
the runner of blocking work that is given, so that a test decides about it, and about nothing else.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Any, TypeAlias

import trio

from farm.threads import RunSync, in_thread

__all__ = ["OpenStream", "dial", "open_tcp"]

OpenStream: TypeAlias = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""(host, port) to a connected stream; raises OSError or BrokenResourceError where it can't."""

STAGGER = 0.25
"""Seconds that an address has for itself before the next one is tried beside it (RFC 8305)."""

MOST_LOOK_UPS = 10
"""Names that are looked up at the same time."""

_look_ups: trio.lowlevel.RunVar[trio.Semaphore] = trio.lowlevel.RunVar("farm look-ups")

# Family, kind, protocol, canonical name, and the address to connect to, which begins with the host.
_Address: TypeAlias = tuple[int, int, int, str, tuple[Any, ...]]


def open_tcp(run_sync: RunSync) -> OpenStream:
    """What connects by TCP and looks names up by `run_sync`.

    Of several addresses the next is tried when the one before has failed, or has not answered
    within a quarter of a second; the first that connects is taken. OSError names the reason for
    each that failed. There is no deadline in here: that is the caller's.
    """

    async def open_stream(host: str, port: int) -> trio.abc.Stream:
        addresses = await _look_up(host, port, run_sync)
        return await _connect(host, port, addresses)

    return open_stream


dial = open_tcp(in_thread)
"""What connects where nothing else is asked for."""


async def _look_up(host: str, port: int, run_sync: RunSync) -> Sequence[_Address]:
    def look_up(flags: int = 0) -> Sequence[_Address]:
        found: Sequence[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
        return found

    try:  # numbers need no resolver, so they must not wait for a thread
        return look_up(socket.AI_NUMERICHOST | socket.AI_NUMERICSERV)
    except socket.gaierror:
        pass
    try:
        found: Sequence[_Address] = await _in_turn(look_up, run_sync)
    except socket.gaierror as exc:
        raise OSError(f"no address for {host}: {exc.strerror}") from exc
    if not found:
        raise OSError(f"no address for {host}")
    return _by_turns(found)


async def _in_turn(look_up: Callable[[], Any], run_sync: RunSync) -> Any:
    """Look up as one of a few. A resolver that hangs keeps its threads, also those that nobody
    waits for any more, and disks need threads as well."""
    slots, token = _slots(), trio.lowlevel.current_trio_token()
    await slots.acquire()
    begun = False

    def work() -> Any:
        nonlocal begun
        begun = True
        try:
            return look_up()
        finally:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(slots.release)

    try:
        return await run_sync(work)
    finally:
        if not begun:
            slots.release()


def _slots() -> trio.Semaphore:
    try:
        return _look_ups.get()
    except LookupError:
        slots = trio.Semaphore(MOST_LOOK_UPS)
        _look_ups.set(slots)
        return slots


def _by_turns(addresses: Sequence[_Address]) -> list[_Address]:
    """IPv6 and IPv4 by turns, the resolver's favourite first: one of them may lead nowhere."""
    favourite = addresses[0][0]
    ours = [address for address in addresses if address[0] == favourite]
    others = [address for address in addresses if address[0] != favourite]
    pairs = chain.from_iterable(zip_longest(ours, others))
    return [address for address in pairs if address is not None]


async def _connect(host: str, port: int, addresses: Sequence[_Address]) -> trio.SocketStream:
    connected: list[trio.socket.SocketType] = []
    reasons: list[str] = []

    async def attempt(address: _Address, failed: trio.Event) -> None:
        try:
            sock = await _connect_one(address)
        except OSError as exc:
            reasons.append(_reason(host, address, exc))
            failed.set()
        else:
            connected.append(sock)
            nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(attempt, address, failed)
                with trio.move_on_after(STAGGER):
                    await failed.wait()
    except BaseException:
        _close(connected)
        raise
    if not connected:
        raise OSError(f"no connection to {host}:{port}: {'; '.join(reasons)}")
    _close(connected[1:])  # two may connect in one turn of the scheduler
    return trio.SocketStream(connected[0])


async def _connect_one(address: _Address) -> trio.socket.SocketType:
    family, kind, protocol, _, target = address
    sock = trio.socket.socket(family, kind, protocol)
    try:
        await sock.connect(target)
    except BaseException:
        sock.close()
        raise
    return sock


def _close(sockets: list[trio.socket.SocketType]) -> None:
    for sock in sockets:
        sock.close()


def _reason(host: str, address: _Address, exc: OSError) -> str:
    text = str(exc) if exc.errno is None else os.strerror(exc.errno)
    number = str(address[4][0])
    return text if number == host else f"{number}: {text}"
