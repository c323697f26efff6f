"""Asking a running farm how it is, through a Unix socket that only its owner may open.

A client sends one line of JSON, ``{"ask": "status"}``, and gets one line back: the answer, or
``{"error": "..."}``.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import attrs
import trio

from farm.errors import ControlError
from farm.groups import leaves
from farm.monitor.runtime import link_socket, listen_privately, peer_of, remove_dead, socket_places
from farm.threads import in_thread

__all__ = ["ANSWER_SECONDS", "Answer", "ask_control", "attend", "serve_control"]

log = logging.getLogger("farm.control")

Answer: TypeAlias = Callable[[str], dict[str, Any]]
"""Answers what is asked; ControlError for what it does not know."""

LONGEST_REQUEST = 4_096
LONGEST_ANSWER = 16 * 1024 * 1024
"""Bytes of a line, at the most."""

MOST_CLIENTS = 8
"""Clients at a time; another one is told to come again."""

CLIENT_SECONDS = 5.0
"""How long one client may take for all of it."""

ANSWER_SECONDS = 5.0
"""How long a client waits for its answer."""

_TIDY_SECONDS = 1.0  # for taking the socket's name away, which may hang with its disk


# --- the farm's side -----------------------------------------------------------------------------


async def attend(data: Path | None, answer: Answer) -> None:
    """Answer whoever asks this process, until cancelled.

    The socket is in the data directory or in the runtime directory (:mod:`farm.monitor.runtime`).
    Whatever fails in this is a warning: no farm ends since nobody can ask how it is.
    """
    try:
        async with trio.open_nursery() as nursery:
            path = await _open_somewhere(data, answer, nursery)
            await _keep_link(path)
    except* (OSError, ControlError) as group:
        log.warning("nobody can ask this farm how it is: %s", "; ".join(map(str, leaves(group))))


async def _open_somewhere(data: Path | None, answer: Answer, nursery: trio.Nursery) -> Path:
    """Serve at the first place that will do, and which that is."""
    *others, last = socket_places(data, os.getpid())
    for place in others:
        try:
            await nursery.start(serve_control, place, answer)
        except (OSError, ControlError) as error:
            log.debug("no control socket at %s: %s", place, error)
        else:
            return place
    await nursery.start(serve_control, last, answer)
    return last


async def _keep_link(path: Path) -> NoReturn:
    """Have the socket found by those who don't know the data directory."""
    link: Path | None = None
    try:
        link = link_socket(path)
        remove_dead(path.parent if link is None else link.parent)
    except (OSError, ControlError) as error:
        log.warning("farm ps finds this farm by its data directory alone: %s", error)
    try:
        await trio.sleep_forever()
    finally:
        if link is not None:
            await _tidy(link)


async def serve_control(
    path: Path, answer: Answer, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer at `path` until cancelled.

    ControlError where another farm does so already, or the path is taken by something else; OSError
    where there can be no socket.
    """
    # In no thread: given up it would leave a socket that listens. The disk was used a moment ago.
    listener = listen_privately(path)
    stream = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, _Clients(answer).serve, [stream])
            task_status.started()
    finally:
        await _tidy(path)


async def _tidy(path: Path) -> None:
    """Take a name away."""
    with trio.CancelScope(shield=True, deadline=trio.current_time() + _TIDY_SECONDS):
        try:
            await in_thread(partial(path.unlink, missing_ok=True))
        except OSError as error:
            log.debug("%s is left: %s", path, error)


@attrs.define(eq=False)
class _Clients:
    """Serves clients, a few at a time."""

    answer: Answer
    count: int = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        """One client's request; nothing that it does, or leaves undone, matters to the farm."""
        self.count += 1
        try:
            with trio.move_on_after(CLIENT_SECONDS):
                async with stream:
                    reply = await self._reply(stream)
                    if reply:
                        await stream.send_all(reply + b"\n")
        except (OSError, trio.BrokenResourceError) as error:
            log.debug("a client went away: %s", error)
        finally:
            self.count -= 1

    async def _reply(self, stream: trio.SocketStream) -> bytes:
        """What to tell a client; nothing to one that only looked whether somebody is here."""
        peer = peer_of(stream.socket)
        if peer is not None and peer.uid != os.geteuid():
            return _complaint("only this farm's owner may ask")
        if self.count > MOST_CLIENTS:
            return _complaint("too many ask at once")
        line = await _read_line(stream, LONGEST_REQUEST)
        return self._answer(line) if line else b""

    def _answer(self, line: bytes) -> bytes:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return _complaint(f"a request is one line of JSON, of {LONGEST_REQUEST} bytes at most")
        what = request.get("ask") if isinstance(request, dict) else None
        if not isinstance(what, str):
            return _complaint('a request is an object such as {"ask": "status"}')
        try:
            answer = json.dumps(self.answer(what)).encode()
        except ControlError as error:
            return _complaint(str(error))
        except Exception:
            log.exception("%r could not be answered", what)
            return _complaint("it could not be answered; the farm's log says why")
        return answer if len(answer) < LONGEST_ANSWER else _complaint("the answer is too long")


def _complaint(text: str) -> bytes:
    return json.dumps({"error": text}).encode()


# --- the client's side ---------------------------------------------------------------------------


async def ask_control(path: Path, what: str, timeout: float = ANSWER_SECONDS) -> dict[str, Any]:
    """Ask the farm at `path`; its answer. ControlError where none is there, where it does not
    answer within `timeout` seconds, where it is another user's, and with what it complains of."""
    try:
        with trio.fail_after(timeout):
            line = await _exchange(path, what)
    except trio.TooSlowError:
        raise ControlError(f"{path}: no answer within {timeout:g} s") from None
    except (OSError, trio.BrokenResourceError) as error:
        raise ControlError(f"{path}: nobody answers: {error}") from error
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ControlError(f"{path}: what answers is no farm") from error
    if not isinstance(answer, dict):
        raise ControlError(f"{path}: what answers is no farm")
    if "error" in answer:
        raise ControlError(f"{path}: {answer['error']}")
    return answer


async def _exchange(path: Path, what: str) -> bytes:
    async with await trio.open_unix_socket(path) as stream:
        peer = peer_of(stream.socket)
        if peer is not None and peer.uid != os.geteuid():
            raise ControlError(f"{path}: it is another user's")
        with suppress(trio.BrokenResourceError):  # turned away before; why is there to be read
            await stream.send_all(json.dumps({"ask": what}).encode() + b"\n")
        line = await _read_line(stream, LONGEST_ANSWER)
    if not line.endswith(b"\n"):
        raise ControlError(f"{path}: it ended before it had answered")
    return line


async def _read_line(stream: trio.SocketStream, longest: int) -> bytes:
    """A line with its end; without one where the stream ends before, or the line is too long."""
    line = bytearray()
    while len(line) <= longest:
        part = await stream.receive_some()
        line += part
        if not part or b"\n" in part:
            break
    head, end, _ = line.partition(b"\n")
    return bytes(head + end)
