"""The Binance core: combined streams, numbered requests, snapshots by REST.

Source: github.com/binance/binance-spot-api-docs, ``web-socket-streams.md``, "Live Subscribing".
"""

from __future__ import annotations

import msgspec

from farm.exchanges.binance.books import snapshot_parser
from farm.exchanges.binance.parsers import EVENT_TYPES, parser_of
from farm.exchanges.core import CoreSession
from farm.exchanges.harvest import Harvest
from farm.exchanges.numbers import Parser, ParserContext
from farm.exchanges.session import Rotate
from farm.exchanges.streams import Stream
from farm.exchanges.subscriptions import Request
from farm.types import Nanoseconds

__all__ = ["BinanceSession"]

_SHUTDOWN = "serverShutdown"

_LIST_ID = 2**40
"""The id of requests for the list of subscriptions; those of other requests count from 1."""

_START = b'{"stream":"'
_SKIP = len(_START)


class _Typed(msgspec.Struct):
    """As much of a payload as tells its type."""

    e: str | None = None


class _Envelope(msgspec.Struct):
    """A frame of any kind: combined, or a reply. Errors come bare and nested: both are read."""

    stream: str | None = None
    id: int | str | None = None
    code: int | None = None
    msg: str = ""
    error: _Error | None = None
    e: str | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Error(msgspec.Struct):
    code: int = 0
    msg: str = ""


class _TypedFrame(msgspec.Struct):
    data: _Typed | list[_Typed] = msgspec.field(default_factory=_Typed)

    @property
    def kind(self) -> str | None:
        """The type of the payload; of a list, of its first."""
        rows = self.data if isinstance(self.data, list) else [self.data]
        return rows[0].e if rows else None


_envelope = msgspec.json.Decoder(_Envelope)
_typed_frame = msgspec.json.Decoder(_TypedFrame)


class BinanceSession(CoreSession):
    """One connection to a Binance market."""

    start = _START

    _shut_down = 0  # the epoch whose server has said that it shuts down

    def _parser(self, stream: Stream) -> Parser:
        return parser_of(stream, self._context)

    def _snapshot_parser(self) -> Parser:
        # Only the socket was asked for microseconds.
        return snapshot_parser(ParserContext(self._numbers))

    def _stream_name(self, raw: bytes) -> bytes | None:
        if raw.startswith(_START):
            name = raw[_SKIP : raw.find(b'"', _SKIP)]
            if b"\\" not in name:
                return name
        name_text = _envelope.decode(raw).stream
        return None if name_text is None else name_text.encode()

    def _unknown_kind(self, raw: bytes) -> str | None:
        name = self._stream_name(raw)
        kind = _typed_frame.decode(raw).kind
        route = self._routes.get(name) if name is not None else None
        if route is None or kind is None:
            return kind
        return None if kind == EVENT_TYPES.get(route.stream.data_type) else kind

    def _request_text(self, request: Request) -> str:
        method = "SUBSCRIBE" if request.subscribes else "UNSUBSCRIBE"
        message = {"method": method, "params": request.names, "id": int(request.id)}
        return msgspec.json.encode(message).decode()

    def _control(self, raw: bytes, time: Nanoseconds, harvest: Harvest) -> str | None:
        reply = _envelope.decode(raw)
        error = reply.error
        if error is None and reply.code is not None:
            error = _Error(reply.code, reply.msg)
        if error is not None:
            reason = f"{error.msg} (code {error.code})"
            self._refused(str(reply.id), reason, time, harvest)
            return None if reply.id is not None else f"error {error.code}"
        if reply.id is not None and reply.result is not msgspec.UNSET:
            if reply.id == _LIST_ID:
                self._listed(msgspec.json.decode(reply.result, type=list[str]), harvest)
            else:
                self._acknowledged(str(reply.id), time, harvest)
            return None
        if reply.e == _SHUTDOWN:
            self._shuts_down()
            return None
        return reply.e or "unnamed"

    def _is_notice(self, name: str) -> bool:
        if name != f"!{_SHUTDOWN}":
            return False
        self._shuts_down()
        return True

    def _shuts_down(self) -> None:
        """The server goes down soon, and does not say when: replace the connection at once.

        Once an epoch: a server that says it again and again is not to be obeyed as often.
        """
        if self._shut_down != self._epoch:
            self._shut_down = self._epoch
            self._commands.append(Rotate(self._epoch, "the server shuts down"))

    def _tick(self, now: float) -> None:
        """The server pings; the WebSocket layer answers."""

    def _ask_list(self) -> None:
        self._send(f'{{"method":"LIST_SUBSCRIPTIONS","id":{_LIST_ID}}}')

    def _listed(self, names: list[str], harvest: Harvest) -> None:
        self._execute(self._liveness.listed(names, self._now), harvest)

    def _snapshot_params(self, stream: Stream) -> tuple[tuple[str, str | int], ...]:
        return (("symbol", stream.symbol), ("limit", self.snapshot_levels))
