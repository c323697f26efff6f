"""Faults of REST requests at work."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from typing import TypeAlias

import trio

from farm.testing.faults.budget import Budget
from farm.testing.faults.fault import Fault
from farm.testing.faults.log import FaultEvent
from farm.testing.faults.rest_kinds import (
    RestFault,
    RestGarbage,
    RestReset,
    RestStatus,
    RestTimeout,
    SnapshotTooOld,
)
from farm.testing.rest import Request, Response
from farm.testing.wire import reset_socket

__all__ = ["RequestFaults"]

Answer: TypeAlias = Callable[[Request], Awaitable[Response]]

_HTML = "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body></body></html>"
_DEPTH = ("/depth", "/full_orderbook")
_LONG_AGO = 1_000_000


class RequestFaults:
    """Those at work now; a request meets the one of them that has been longest."""

    def __init__(self, log: list[FaultEvent]) -> None:
        self._log = log
        self._faults: Budget[RestFault] = Budget()
        self._snapshots: Budget[SnapshotTooOld] = Budget()

    def count_down(self, fault: RestFault | SnapshotTooOld) -> None:
        """Hits the next requests."""
        if isinstance(fault, SnapshotTooOld):
            self._snapshots.add(fault)
        else:
            self._faults.add(fault)

    async def answer(self, request: Request, stream: trio.abc.Stream, answer: Answer) -> Response:
        """What a request gets, from `answer` where nothing is at work.

        Raises:
            trio.BrokenResourceError: it gets nothing, and its line has been cut.
        """
        fault = self._faults.take(lambda fault: fnmatchcase(request.path, fault.path))
        if fault is not None:
            self._note(fault, request)
            return await self._fail(fault, request, stream, answer)
        response = await answer(request)
        if request.path.endswith(_DEPTH) and response.status == 200:
            aged = self._snapshots.take()
            if aged is not None:
                self._note(aged, request)
                response.body = _aged(response.body)
        return response

    async def _fail(
        self, fault: RestFault, request: Request, stream: trio.abc.Stream, answer: Answer
    ) -> Response:
        if isinstance(fault, RestStatus):
            wait = [] if fault.retry_after is None else [("retry-after", str(fault.retry_after))]
            return Response("", fault.status, wait)
        if isinstance(fault, RestGarbage):
            return await _garbage(fault, request, answer)
        if isinstance(fault, RestTimeout):
            await trio.sleep(fault.seconds)
            raise trio.BrokenResourceError("it gets no answer")
        assert isinstance(fault, RestReset)
        reset_socket(stream)
        raise trio.BrokenResourceError("it is reset")

    def _note(self, fault: Fault, request: Request) -> None:
        self._log.append(FaultEvent(trio.current_time(), fault, stream=request.target))


async def _garbage(fault: RestGarbage, request: Request, answer: Answer) -> Response:
    if fault.how == "html":
        return Response(_HTML, content_type="text/html")
    if fault.how == "empty":
        return Response("")
    response = await answer(request)
    return Response(response.body[: len(response.body) // 2])


def _aged(body: str) -> str:
    """An answer about depth with its ids from long ago; 1 would say that a book begins anew."""
    reply = json.loads(body)
    if "lastUpdateId" in reply:
        reply["lastUpdateId"] = max(1, reply["lastUpdateId"] - _LONG_AGO)
    elif reply.get("result"):
        for name, least in (("u", 2), ("seq", 1)):
            reply["result"][name] = max(least, reply["result"][name] - _LONG_AGO)
    return json.dumps(reply, separators=(",", ":"), ensure_ascii=False)
