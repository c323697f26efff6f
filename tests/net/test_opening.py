"""How a WebSocket opens, and every way in which it doesn't."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing
import trio_websocket
import trustme
from trio.testing import MockClock
from wsproto.events import RejectConnection, RejectData

from farm.errors import ConfigError, ConnectFailed, HandshakeRefused, TlsFailed
from farm.net.websocket import WebSocketOptions, open_websocket
from tests.net.peers import RawServer, text

URL = "ws://farm.test/stream"
QUICK = WebSocketOptions(connect_timeout=0.2, handshake_timeout=0.2)


def ignore(messages: list[bytes], receive_time: int) -> None:
    """An `on_read` that doesn't care."""


async def expect_failure(
    kind: type[ConnectFailed],
    server: RawServer,
    behave: Callable[[], Awaitable[None]],
    url: str = URL,
) -> ConnectFailed:
    """Open against `behave`; the error must be exactly of `kind`, name the URL, and leave
    nothing open."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(behave)
        with pytest.raises(ConnectFailed) as caught:
            async with open_websocket(url, ignore, open_stream=server.open_stream):
                raise AssertionError("the opening must fail")
        nursery.cancel_scope.cancel()
    assert type(caught.value) is kind
    assert url in str(caught.value)
    with pytest.raises(trio.ClosedResourceError):
        await server.client_side.send_all(b"x")
    return caught.value


@pytest.mark.parametrize(
    ("url", "target", "host", "connected"),
    [
        ("ws://farm.test", "/", b"farm.test", ("farm.test", 80)),
        ("ws://127.0.0.1:9443/ws", "/ws", b"127.0.0.1:9443", ("127.0.0.1", 9443)),
        ("ws://[::1]:81/a?b=c", "/a?b=c", b"[::1]:81", ("::1", 81)),
        (
            "ws://farm.test/stream?streams=币安人生usdt@trade/btcusdt@depth",
            "/stream?streams=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9Fusdt@trade/btcusdt@depth",
            b"farm.test",
            ("farm.test", 80),
        ),
    ],
)
async def test_request(url: str, target: str, host: bytes, connected: tuple[str, int]) -> None:
    server = RawServer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.accept)
        async with open_websocket(url, ignore, open_stream=server.open_stream):
            assert server.opened == connected
            assert server.request is not None
            assert server.request.target == target
            assert server.request.host.encode() == host
            await server.stream.aclose()


@pytest.mark.parametrize(
    "url",
    ["http://farm.test", "farm.test", "ws://", "ws://x:99999/", "ws://x:0/", "ws://me@farm.test/"],
)
async def test_impossible_url(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        async with open_websocket(url, ignore):
            pass
    assert repr(url) in str(caught.value)


async def test_first_frames_in_the_segment_of_the_answer() -> None:
    server = RawServer()
    got: list[bytes] = []
    arrived = trio.Event()

    def on_read(messages: list[bytes], receive_time: int) -> None:
        got.extend(messages)
        arrived.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.accept, text("one") + text("two"))
        async with open_websocket(URL, on_read, open_stream=server.open_stream):
            await arrived.wait()
            await server.stream.aclose()
    assert got == [b"one", b"two"]


# TCP -------------------------------------------------------------------------------------------


async def test_refused_port() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # taken, but nobody listens
        url = f"ws://127.0.0.1:{unheard.getsockname()[1]}/"
        with pytest.raises(ConnectFailed) as caught:
            async with open_websocket(url, ignore):
                pass
    assert type(caught.value) is ConnectFailed
    assert url in str(caught.value)
    assert "refused" in str(caught.value)


@pytest.mark.parametrize(
    "error", [socket.gaierror("no such host"), trio.BrokenResourceError("no such host")]
)
async def test_connecting_fails(error: Exception) -> None:
    async def open_stream(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise error

    with pytest.raises(ConnectFailed, match=r"ws://farm.test/stream: no such host") as caught:
        async with open_websocket(URL, ignore, open_stream=open_stream):
            pass
    assert caught.value.__cause__ is error


async def test_connecting_takes_too_long(autojump_clock: MockClock) -> None:
    async def open_stream(host: str, port: int) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    start = trio.current_time()
    with pytest.raises(ConnectFailed, match="no connection in 10 s"):
        async with open_websocket(URL, ignore, open_stream=open_stream):
            pass
    assert trio.current_time() - start == pytest.approx(10)


# The WebSocket handshake -----------------------------------------------------------------------


async def test_refusal_with_status_and_body() -> None:
    server = RawServer()

    async def behave() -> None:
        await server.event()
        reject = RejectConnection(
            status_code=451, headers=[(b"Content-Length", b"19")], has_body=True
        )
        await server.send(server.protocol.send(reject))
        await server.send(server.protocol.send(RejectData(data=b"restricted location")))

    error = await expect_failure(HandshakeRefused, server, behave)
    assert error.code == 451
    assert "restricted location" in str(error)


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ([], None),
        ([(b"Retry-After", b"30")], 30.0),
        ([(b"X-Other", b"7"), (b"retry-after", b"0")], 0.0),
        ([(b"RETRY-AFTER", b"259200")], 259_200.0),
        ([(b"Retry-After", b"Wed, 21 Oct 2026 07:28:00 GMT")], None),
        ([(b"Retry-After", b"-5")], None),
        ([(b"Retry-After", b"1.5")], None),
        ([(b"Retry-After", b"")], None),
        ([(b"Retry-After", b"9" * 5_000)], None),
        ([(b"Retry-After", "٣".encode())], None),  # a digit, and none of HTTP's
    ],
)
@pytest.mark.parametrize("status", [429, 418, 403, 503])
async def test_refusal_that_names_a_pause(
    status: int, headers: list[tuple[bytes, bytes]], pause: float | None
) -> None:
    server = RawServer()

    async def behave() -> None:
        await server.event()
        answer = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        await server.send(b"HTTP/1.1 %d No\r\n%sContent-Length: 0\r\n\r\n" % (status, answer))
        await server.stream.aclose()

    error = await expect_failure(HandshakeRefused, server, behave)
    assert isinstance(error, HandshakeRefused)
    assert (error.code, error.retry_after) == (status, pause)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403),
        (b"HTTP/1.1 429 Slow\r\n\r\nuntil the end of the stream", 429),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 500\r\n\r\ncut", 503),
        (b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", 301),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 500_000, 200),
    ],
)
async def test_refusal_however_its_body_ends(answer: bytes, code: int) -> None:
    server = RawServer()

    async def behave() -> None:
        await server.event()
        await server.send(answer)
        await server.stream.aclose()

    assert (await expect_failure(HandshakeRefused, server, behave)).code == code


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 101 Switching Pro",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x02\x46" * 10,
        b"\x81\x05hello",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: not the right one\r\n\r\n" + text("to nobody"),
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: \xff\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n" + b"X: y\r\n" * 50_000,
    ],
)
async def test_answer_that_is_none(answer: bytes) -> None:
    server = RawServer()

    async def behave() -> None:
        await server.event()
        await server.send(answer)
        await server.stream.aclose()

    error = await expect_failure(ConnectFailed, server, behave)
    assert error.code is None
    if b"right one" in answer:
        assert "Bad accept token" in str(error)


async def test_server_that_breaks_off_before_it_has_read() -> None:
    server = RawServer()

    async def behave() -> None:
        await server.stream.aclose()

    await expect_failure(ConnectFailed, server, behave)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", ConnectFailed),
        (b"HTTP/1.1 101 Switch", ConnectFailed),
        (b"HTTP/1.1 502 Bad\r\n\r\nbody without end", HandshakeRefused),
    ],
)
async def test_silence_after(
    answer: bytes, kind: type[ConnectFailed], autojump_clock: MockClock
) -> None:
    server = RawServer()

    async def behave() -> None:
        await server.send(answer)
        await trio.sleep_forever()

    start = trio.current_time()
    error = await expect_failure(kind, server, behave)
    assert trio.current_time() - start == pytest.approx(10)
    assert error.code == (502 if kind is HandshakeRefused else None)


async def test_cancelled_opening_leaves_nothing(autojump_clock: MockClock) -> None:
    server = RawServer()
    with trio.move_on_after(1) as scope:
        async with open_websocket(URL, ignore, open_stream=server.open_stream):
            raise AssertionError("nobody has answered")
    assert scope.cancelled_caught
    with pytest.raises(trio.ClosedResourceError):
        await server.client_side.send_all(b"x")


# TLS -------------------------------------------------------------------------------------------


class TlsServer:
    """A real trio-websocket server on loopback, and how its TLS handshakes went."""

    def __init__(self, name: str = "localhost") -> None:
        self.authority = trustme.CA()
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(name).configure_cert(self.context)
        self.trusting = ssl.create_default_context()
        self.authority.configure_trust(self.trusting)
        self.failures: list[BaseException] = []
        self.failed = trio.Event()
        self.port = 0

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, self._handle, [listener])
            task_status.started()

    async def _handle(self, stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, self.context, server_side=True, https_compatible=True)
        async with tls, trio.open_nursery() as nursery:
            try:
                await tls.do_handshake()
                await tls.receive_some(1)
            except trio.BrokenResourceError as exc:
                self.failures.append(exc)
            self.failed.set()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("cause", ["wrong hostname", "unknown authority"])
async def test_bad_certificate(cause: str) -> None:
    server = TlsServer("elsewhere.test" if cause == "wrong hostname" else "localhost")
    context = server.trusting if cause == "wrong hostname" else ssl.create_default_context()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        url = f"wss://localhost:{server.port}/"
        with pytest.raises(TlsFailed, match="certificate refused") as caught:
            async with open_websocket(url, ignore, ssl_context=context):
                pass
        assert url in str(caught.value)
        with trio.fail_after(5):
            await server.failed.wait()
        assert server.failures
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("name", ["check_hostname", "verify_mode"])
async def test_context_that_does_not_verify_is_refused(name: str) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    if name == "verify_mode":
        context.verify_mode = ssl.CERT_NONE
    server = RawServer()
    with pytest.raises(ConfigError, match="ssl_context"):
        async with open_websocket(
            "wss://localhost/", ignore, ssl_context=context, open_stream=server.open_stream
        ):
            pass


async def test_peer_that_speaks_no_tls() -> None:
    async def behave(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 400 The plain HTTP request\r\n\r\n")

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), behave, 0)
        url = f"wss://localhost:{listener.socket.getsockname()[1]}/"
        with pytest.raises(TlsFailed, match="TLS handshake failed"):
            async with open_websocket(url, ignore):
                pass
        nursery.cancel_scope.cancel()


async def test_peer_that_accepts_and_says_nothing(autojump_clock: MockClock) -> None:
    server = RawServer()
    start = trio.current_time()
    with pytest.raises(TlsFailed, match="no TLS handshake in 10 s"):
        async with open_websocket("wss://farm.test/", ignore, open_stream=server.open_stream):
            pass
    assert trio.current_time() - start == pytest.approx(10)
    assert (await server.stream.receive_some())[:1] == b"\x16"  # the client hello
    assert await server.stream.receive_some() == b""


async def test_peer_that_accepts_and_says_nothing_on_a_real_socket() -> None:
    async with trio.open_nursery() as nursery:
        ended = trio.Event()

        async def behave(stream: trio.SocketStream) -> None:
            async with stream:
                while await stream.receive_some():
                    pass
            ended.set()

        (listener,) = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), behave, 0)
        url = f"wss://localhost:{listener.socket.getsockname()[1]}/"
        with pytest.raises(TlsFailed):
            async with open_websocket(url, ignore, options=QUICK):
                pass
        with trio.fail_after(5):
            await ended.wait()
        nursery.cancel_scope.cancel()


async def test_real_server_over_verified_tls() -> None:
    server = TlsServer()

    async def handler(request: trio_websocket.WebSocketRequest) -> None:
        websocket = await request.accept()
        await websocket.send_message(request.path)

    got: list[bytes] = []
    async with trio.open_nursery() as nursery:
        running = await nursery.start(
            trio_websocket.serve_websocket, handler, "localhost", 0, server.context
        )
        url = f"wss://localhost:{running.port}/v5/public/spot"
        async with open_websocket(
            url, lambda messages, _: got.extend(messages), ssl_context=server.trusting
        ) as websocket:
            await websocket.wait_closed()
        nursery.cancel_scope.cancel()
    assert got == [b"/v5/public/spot"]
