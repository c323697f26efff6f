"""The lines to a fake exchange: its ports, who is connected, and what breaks."""

from __future__ import annotations

import ssl
from abc import abstractmethod

import attrs
import trio

from farm.testing.connection import Connection
from farm.testing.faults.fault import Fault
from farm.testing.faults.injector import FaultInjector
from farm.testing.faults.log import FaultEvent
from farm.testing.faults.script import FaultScript
from farm.testing.floor import PushFilter, TradingFloor
from farm.testing.listing import Listing
from farm.testing.network import MemoryNetwork
from farm.testing.port import HOST, Port
from farm.testing.rest import Request, Response, serve_http
from farm.testing.source import Push
from farm.testing.tls import make_certificates
from farm.testing.venue import Refusal
from farm.testing.wall_clock import WallClock
from farm.testing.wire import reset_socket

__all__ = ["RestCall", "ServedFloor"]


@attrs.define
class RestCall:
    """A REST request that was answered. ``time``: when it came, seconds on Trio's clock."""

    time: float
    target: str
    status: int


class ServedFloor(TradingFloor):
    """A trading floor that clients reach, and that a script of faults strikes.

    ``ssl_context``: what clients trust, None without TLS, and ``authority`` the certificate in it
    (PEM), for a client that wants a file. ``fault_log``: what faults did.
    """

    def __init__(
        self,
        listing: Listing,
        push_filter: PushFilter | None,
        *,
        tls: bool,
        network: MemoryNetwork | None,
        faults: FaultScript | None,
        wall_clock: WallClock | None,
    ) -> None:
        self.ssl_context: ssl.SSLContext | None = None
        self.connections_accepted = 0
        self.connections_refused = 0
        self.rest_log: list[RestCall] = []
        self._server_context: ssl.SSLContext | None = None
        self.authority: bytes | None = None
        if tls:
            made = make_certificates(HOST)
            self._server_context, self.ssl_context = made.server, made.client
            self.authority = made.authority
        self._injector = FaultInjector(
            self, FaultScript() if faults is None else faults, wall_clock
        )
        super().__init__(listing, push_filter, self._injector.frames)
        # TLS comes after the port, for its handshake may be made to fail.
        self._ws = Port(self._serve_ws, None, network)
        self._rest = Port(self._serve_rest, None, network)
        self._nursery: trio.Nursery | None = None
        self._connections: dict[Connection, None] = {}
        self._rest_streams: dict[trio.abc.Stream, None] = {}
        self._names = 0
        self._killed = False
        self._listening = False
        self._shut_times = 0

    # --- addresses -------------------------------------------------------------------------------

    @property
    def ws_url(self) -> str:
        return f"ws{'s' if self.ssl_context else ''}://{HOST}:{self._ws.number}"

    @property
    def rest_url(self) -> str:
        return f"http{'s' if self.ssl_context else ''}://{HOST}:{self._rest.number}"

    @property
    def connections(self) -> list[Connection]:
        """The connections that are open now, oldest first."""
        return [connection for connection in self._connections if connection.is_open]

    # --- faults ----------------------------------------------------------------------------------

    @property
    def fault_log(self) -> list[FaultEvent]:
        return self._injector.log

    @property
    def faults_begun(self) -> list[Fault]:
        """The faults whose moment has come, whatever they hit."""
        return self._injector.begun

    def strike(self, fault: Fault) -> None:
        """Brings a fault about now, whatever its moment; ValueError where this exchange cannot
        have it."""
        self._injector.strike(fault)

    def break_connections(self) -> None:
        """Resets every connection, REST included, but those half open; the ports stay open."""
        for connection in list(self._connections):
            if not connection.is_half_open:
                connection.reset()
        for stream in list(self._rest_streams):
            reset_socket(stream)

    def kill(self) -> None:
        """The server dies: resets every connection and refuses new ones until :meth:`revive`."""
        self._killed = True
        self._stop_listening()
        self.break_connections()

    async def revive(self) -> None:
        """Listens again on the same ports, once no fault keeps them shut. What clients were
        subscribed to is forgotten."""
        self._killed = False
        await self._listen()

    def shut(self) -> None:
        """Refuses connections until as many :meth:`reopen` have come."""
        self._shut_times += 1
        self._stop_listening()

    async def reopen(self) -> None:
        """Takes one :meth:`shut` back."""
        self._shut_times -= 1
        await self._listen()

    def begin_anew(self) -> None:
        """The server has been started again: what it forgets then is forgotten."""

    def leave_half_open(self, connection: Connection) -> None:
        """Leaves a connection half open: the market goes on without it, and it is not told."""
        for name in list(connection.streams):
            self.unsubscribe(connection, name)
        connection.leave_half_open()

    @abstractmethod
    def is_diff(self, push: Push) -> bool:
        """Whether a push is a diff of a book."""

    # --- the protocol ----------------------------------------------------------------------------

    def refuse(self, connection: Connection, target: str) -> Refusal | None:
        """The answer to a handshake that gets no WebSocket."""
        refusal = self._injector.handshakes.rejects(connection) or self.judge(connection, target)
        self.connections_refused += refusal is not None
        return refusal

    def opened(self, connection: Connection, target: str) -> None:
        self.connections_accepted += 1
        self.welcome(connection, target)
        self._injector.handshakes.after(connection, self._tasks)

    def leaves_ping(self, connection: Connection) -> bool:
        """Whether a ping, in whatever form, is left without an answer."""
        return self._injector.handshakes.leaves_ping(connection)

    def reply(self, connection: Connection, text: str) -> None:
        """Answers a client's request."""
        if not self._injector.handshakes.leaves_request(connection):
            connection.send_text(text)

    @abstractmethod
    def judge(self, connection: Connection, target: str) -> Refusal | None:
        """What the venue's own rules say of a handshake: :meth:`refuse` without faults."""

    @abstractmethod
    def welcome(self, connection: Connection, target: str) -> None:
        """A handshake is answered: :meth:`opened` without faults."""

    @abstractmethod
    def on_frame(self, connection: Connection) -> None: ...

    @abstractmethod
    def on_text(self, connection: Connection, text: str) -> None: ...

    @abstractmethod
    async def heartbeat(self, connection: Connection) -> None: ...

    @abstractmethod
    async def answer(self, request: Request) -> Response:
        """Answers a REST request."""

    # --- serving ---------------------------------------------------------------------------------

    async def start(self, nursery: trio.Nursery) -> None:
        """Opens the ports and starts the script; everything lives in `nursery`.

        Raises:
            ValueError: the exchange cannot have one of the script's faults.
        """
        self._injector.start(nursery)
        self._nursery = nursery
        await self.revive()

    def close(self) -> None:
        """Gives the ports back; what faults have begun ends. It may be opened again then."""
        self._ws.close()
        self._rest.close()
        self._listening = False
        self._shut_times = 0
        self._injector.stop()
        self._faults = self._injector.frames
        self._nursery = None

    @property
    def _tasks(self) -> trio.Nursery:
        assert self._nursery is not None, "the exchange is not open"
        return self._nursery

    def _stop_listening(self) -> None:
        self._listening = False
        self._ws.stop()
        self._rest.stop()

    async def _listen(self) -> None:
        if self._listening or self._killed or self._shut_times:
            return
        self._listening = True
        for port in (self._ws, self._rest):
            await self._tasks.start(port.serve, self._tasks)

    async def _secured(self, stream: trio.abc.Stream) -> trio.abc.Stream | None:
        if self._server_context is None:
            return stream
        return await self._injector.handshakes.secure(stream, self._server_context)

    async def _serve_ws(self, plain: trio.abc.Stream) -> None:
        stream = await self._secured(plain)
        if stream is None:
            return
        self._names += 1
        connection = Connection(self, stream, f"c{self._names}")
        self._connections[connection] = None
        try:
            await connection.run()
        finally:
            del self._connections[connection]
            for name in list(connection.streams):
                self.unsubscribe(connection, name)

    async def _serve_rest(self, plain: trio.abc.Stream) -> None:
        stream = await self._secured(plain)
        if stream is None:
            return
        self._rest_streams[stream] = None
        try:
            await serve_http(stream, lambda request: self._logged_answer(request, stream))
        finally:
            del self._rest_streams[stream]

    async def _logged_answer(self, request: Request, stream: trio.abc.Stream) -> Response:
        came = trio.current_time()
        response = await self._injector.requests.answer(request, stream, self.answer)
        self.rest_log.append(RestCall(came, request.target, response.status))
        return response
