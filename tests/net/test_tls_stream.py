"""The draining TLS stream: against Trio's own, OpenSSL's server, and under trio-websocket."""

from __future__ import annotations

import random
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing
import trio_websocket
import trustme
from trio.testing import MockClock

from farm.net.reading import READ_BYTES
from farm.net.tls import start_tls
from farm.net.tls_stream import GOODBYE_SECONDS, TlsStream
from farm.net.websocket import open_websocket
from farm.testing.network import MemoryStream
from tests.effort import runs

HOST = "farm.test"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
GARBAGE = b"\x17\x03\x03\x00\x40" + b"?" * 64  # a record as to its header

each_version = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


Pair = tuple[trio.abc.Stream, trio.abc.Stream]


async def memory_pair() -> Pair:
    return trio.testing.memory_stream_pair()


async def socket_pair() -> Pair:
    near, far = trio.socket.socketpair()
    return trio.SocketStream(near), trio.SocketStream(far)


each_transport = pytest.mark.parametrize("make", [memory_pair, socket_pair])


@attrs.define
class Line:
    """A client's TLS stream, the server's, and what lies beneath the server's."""

    client: TlsStream
    server: trio.SSLStream[trio.abc.Stream]
    far: trio.abc.Stream

    async def settle(self) -> None:
        """Have the client take what the server says after the handshake: its tickets."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.server.send_all, b"settled")
            assert await self.client.receive_some() == b"settled"


Connect = Callable[..., Awaitable[Line]]


@pytest.fixture
def connect(authority: trustme.CA) -> Connect:
    async def connect(
        pair: Pair | None = None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    ) -> Line:
        serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(HOST).configure_cert(serving)
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        trusting.minimum_version = trusting.maximum_version = version
        near, far = pair or await memory_pair()
        server = trio.SSLStream(far, serving, server_side=True)  # sends and wants `close_notify`
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.do_handshake)
            client = await start_tls(near, trusting, HOST, timeout=5)
        line = Line(client, server, far)
        await line.settle()
        return line

    return connect


async def receive_exactly(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = await stream.receive_some(65_536)
        assert chunk, f"the end after {len(data)} bytes"
        data += chunk
    return data


# Data ---------------------------------------------------------------------------------------------


@each_version
@each_transport
async def test_a_megabyte_there_and_back(
    connect: Connect, make: Callable[[], Awaitable[Pair]], version: ssl.TLSVersion
) -> None:
    line = await connect(await make(), version)
    assert line.client.version() == version.name.replace("_", ".")
    data = random.Random(1).randbytes(1_000_000)

    async def echo() -> None:
        left = len(data)
        while left:
            chunk = await line.server.receive_some(random.randrange(1, 50_000))
            await line.server.send_all(chunk)
            left -= len(chunk)

    async with line.client, trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        nursery.start_soon(line.client.send_all, memoryview(data))
        assert await receive_exactly(line.client, len(data)) == data
    await line.far.aclose()


@each_version
@each_transport
async def test_a_hundred_records_come_out_of_one_read(
    connect: Connect, make: Callable[[], Awaitable[Pair]], version: ssl.TLSVersion
) -> None:
    line = await connect(await make(), version)
    records = [b"%03d" % number * 50 for number in range(100)]
    for record in records:
        await line.server.send_all(record)
    assert await line.client.receive_some() == b"".join(records)
    await line.client.aclose()
    await line.far.aclose()


@pytest.mark.parametrize("limit", [1, 7, 149, 150, 151, 16_384, 20_000, None, 1 << 20])
async def test_the_limit_is_kept_and_what_it_leaves_needs_no_more_input(
    connect: Connect, limit: int | None
) -> None:
    line = await connect()
    data = random.Random(2).randbytes(40_000)
    await line.server.send_all(data[:30_000])
    for at in range(30_000, 40_000, 150):
        await line.server.send_all(data[at : at + 150])
    received = bytearray()
    while len(received) < len(data):
        chunk = await line.client.receive_some(limit)
        assert 0 < len(chunk) <= min(limit or READ_BYTES, READ_BYTES)
        received += chunk
    assert received == data


async def test_no_plaintext_beyond_the_bound_in_one_call(connect: Connect) -> None:
    line = await connect()
    data = bytes(10 * READ_BYTES)
    await line.server.send_all(data)
    received = 0
    while received < len(data):
        chunk = await line.client.receive_some()
        assert len(chunk) <= READ_BYTES
        received += len(chunk)


async def test_a_limit_of_nothing_is_an_error(connect: Connect) -> None:
    line = await connect()
    with pytest.raises(ValueError, match="max_bytes"):
        await line.client.receive_some(0)


class Dripping(trio.abc.ReceiveStream):
    """Gives what another stream does, a few bytes a read."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self.stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.stream.receive_some(7)

    async def aclose(self) -> None:
        await self.stream.aclose()


async def test_records_in_pieces(connect: Connect) -> None:
    near, far = trio.testing.memory_stream_pair()
    line = await connect((trio.StapledStream(near, Dripping(near)), far))
    received = b""
    for number in range(20):
        await line.server.send_all(b"record %d " % number)
    expected = b"".join(b"record %d " % number for number in range(20))
    while len(received) < len(expected):
        received += await line.client.receive_some()
        assert expected.startswith(received)


class Late(Dripping):
    """Reads when nobody else has anything to do any more."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        await trio.testing.wait_all_tasks_blocked()
        return await self.stream.receive_some(max_bytes)


async def test_data_that_came_with_the_end_of_the_handshake(authority: trustme.CA) -> None:
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(HOST).configure_cert(serving)
    serving.maximum_version = ssl.TLSVersion.TLSv1_2  # where the server has the last word
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.SSLStream(far, serving, server_side=True).send_all, b"at once")
        client = await start_tls(trio.StapledStream(near, Late(near)), trusting, HOST, timeout=5)
        assert client.is_readable()
        assert await client.receive_some() == b"at once"


@each_transport
async def test_each_call_lets_others_run(
    connect: Connect, make: Callable[[], Awaitable[Pair]]
) -> None:
    line = await connect(await make())
    await line.server.send_all(b"x" * 1_000)
    assert len(await line.client.receive_some(10)) == 10
    with trio.CancelScope() as scope:
        scope.cancel()
        await line.client.receive_some(10)  # there is plenty left over
    assert scope.cancelled_caught
    assert await receive_exactly(line.client, 990) == b"x" * 990
    await line.client.aclose()
    await line.far.aclose()


async def test_three_thousand_records_and_reads_cancelled_at_random(connect: Connect) -> None:
    for seed in range(runs(2)):
        rng = random.Random(seed)
        line = await connect(await socket_pair())
        records = [rng.randbytes(rng.randrange(1, 400)) for _ in range(3_000)]
        received: list[bytes] = []

        async def send(records: list[bytes] = records, line: Line = line) -> None:
            for record in records:
                await line.server.send_all(record)

        async def read(
            line: Line = line, received: list[bytes] = received, rng: random.Random = rng
        ) -> None:
            while True:
                received.append(await line.client.receive_some(rng.choice([None, 50, 5_000])))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            left, cancelled = sum(map(len, records)), 0
            while sum(map(len, received)) < left:
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as reading:
                        reading.start_soon(read)
                        for _ in range(rng.randrange(20)):
                            await trio.lowlevel.checkpoint()
                        scope.cancel()
                cancelled += 1
        assert b"".join(received) == b"".join(records)
        assert cancelled > 10
        await line.client.aclose()
        await line.far.aclose()


# The end ------------------------------------------------------------------------------------------


@each_version
async def test_data_before_close_notify_then_the_end_for_ever(
    connect: Connect, version: ssl.TLSVersion
) -> None:
    line = await connect(version=version)
    await line.server.send_all(b"last ")
    await line.server.send_all(b"words")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.server.aclose)
    assert await line.client.receive_some() == b"last words"
    assert line.client.is_readable()
    assert [await line.client.receive_some() for _ in range(3)] == [b""] * 3
    await line.client.aclose()


@each_version
@pytest.mark.parametrize("rest", [b"", GARBAGE[:3], GARBAGE[:40]])
async def test_the_end_of_the_transport_without_close_notify(
    connect: Connect, version: ssl.TLSVersion, rest: bytes
) -> None:
    line = await connect(version=version)
    await line.server.send_all(b"last words")
    await line.far.send_all(rest)
    await line.far.aclose()
    assert await line.client.receive_some() == b"last words"
    assert [await line.client.receive_some() for _ in range(3)] == [b""] * 3


@each_version
async def test_a_garbage_record_after_good_data(connect: Connect, version: ssl.TLSVersion) -> None:
    line = await connect(version=version)
    await line.server.send_all(b"good")
    await line.far.send_all(GARBAGE)
    await line.server.send_all(b"never read")
    assert await line.client.receive_some() == b"good"
    assert line.client.is_readable()
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError, match=r"TLS: .*MAC"):
            await line.client.receive_some()
    with pytest.raises(trio.BrokenResourceError) as caught:
        await line.server.receive_some()
    assert "ALERT_BAD_RECORD_MAC" in str(caught.value.__cause__)


async def test_a_broken_transport_is_an_error(connect: Connect) -> None:
    near, far = MemoryStream.pair()
    line = await connect((near, far))
    assert not line.client.is_readable()
    far.reset()
    assert line.client.is_readable()
    with pytest.raises(trio.BrokenResourceError):
        await line.client.receive_some()
    await line.client.aclose()


@each_transport
async def test_aclose_wakes_a_reader_and_tells_the_peer(
    connect: Connect, make: Callable[[], Awaitable[Pair]]
) -> None:
    line = await connect(await make())

    async def read() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await line.client.receive_some()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        await line.client.aclose()
    assert await line.server.receive_some() == b""
    for use in (
        line.client.receive_some,
        partial(line.client.send_all, b"x"),
        line.client.wait_send_all_might_not_block,
    ):
        with pytest.raises(trio.ClosedResourceError):
            await use()
    await line.client.aclose()
    await line.far.aclose()


async def test_a_second_reader_is_refused_and_the_first_goes_on(connect: Connect) -> None:
    line = await connect()

    async def read() -> None:
        assert await line.client.receive_some() == b"for the first"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await line.client.receive_some()
        await line.server.send_all(b"for the first")


# Sending ------------------------------------------------------------------------------------------


async def test_senders_take_turns(connect: Connect) -> None:
    line = await connect(MemoryStream.pair(limit=2_000))
    texts = [bytes([byte]) * 40_000 for byte in b"abc"]
    async with trio.open_nursery() as nursery:
        for text in texts:
            nursery.start_soon(line.client.send_all, text)
            await trio.testing.wait_all_tasks_blocked()
        assert await receive_exactly(line.server, 120_000) == b"".join(texts)
    await line.client.wait_send_all_might_not_block()
    await line.client.send_all(b"")


async def test_a_cancelled_send_breaks_the_sending_and_not_the_reading(connect: Connect) -> None:
    line = await connect(MemoryStream.pair(limit=2_000))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.client.send_all, bytes(10_000))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    with pytest.raises(trio.BrokenResourceError, match="cut short"):
        await line.client.send_all(b"next")
    await line.server.send_all(b"refused")
    assert await line.client.receive_some() == b"refused"
    await line.client.aclose()


async def test_a_send_cancelled_before_it_began_breaks_nothing(connect: Connect) -> None:
    line = await connect()
    with trio.CancelScope() as scope:
        scope.cancel()
        await line.client.send_all(b"never")
    assert scope.cancelled_caught
    await line.client.send_all(b"later")
    assert await line.server.receive_some() == b"later"


async def test_a_send_that_waited_while_the_stream_was_closed(connect: Connect) -> None:
    line = await connect(MemoryStream.pair(limit=2_000))

    async def send() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await line.client.send_all(bytes(10_000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        nursery.start_soon(send)
        await trio.testing.wait_all_tasks_blocked()
        await line.client.aclose()


async def test_a_peer_that_does_not_read_cannot_hold_aclose(
    connect: Connect, autojump_clock: MockClock
) -> None:
    near, far = MemoryStream.pair(limit=2_000)
    line = await connect((near, far))
    await near.send_all(bytes(2_000))  # no room is left for `close_notify`
    start = trio.current_time()
    await line.client.aclose()
    assert trio.current_time() - start == pytest.approx(GOODBYE_SECONDS)
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")


async def test_aclose_that_is_cancelled_closes_all_the_same(connect: Connect) -> None:
    near, far = trio.testing.memory_stream_pair()
    line = await connect((near, far))
    with trio.CancelScope() as scope:
        scope.cancel()
        await line.client.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")


# Other people's TLS -------------------------------------------------------------------------------


@attrs.define
class OpensslServer:
    """``openssl s_server``: what it is told it sends, but for single letters, which are commands;
    and it prints what it receives."""

    process: trio.Process
    printed: bytes = b""

    async def tell(self, text: bytes) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(text)

    async def wait_for(self, text: bytes) -> bytes:
        """Wait until it prints this; the rest of the line."""
        while text not in self.printed or b"\n" not in self.printed.split(text, 1)[1]:
            assert self.process.stdout is not None
            chunk = await self.process.stdout.receive_some()
            assert chunk, self.printed
            self.printed += chunk
        rest, self.printed = self.printed.split(text, 1)[1].split(b"\n", 1)
        return rest


@asynccontextmanager
async def openssl_server(authority: trustme.CA, folder: Path) -> AsyncIterator[OpensslServer]:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("needs the program openssl")
    pem = folder / "server.pem"
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(str(pem))
    command = [program, "s_server", "-accept", "127.0.0.1:0", "-cert", str(pem), "-key", str(pem)]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(
            partial(
                trio.run_process,
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        )
        yield OpensslServer(process)
        nursery.cancel_scope.cancel()


class Noticing(trio.abc.ReceiveStream):
    """Gives what another stream does, and tells that something came."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self.stream = stream
        self.came = trio.Event()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self.stream.receive_some(max_bytes)
        self.came.set()
        return data

    async def aclose(self) -> None:
        await self.stream.aclose()


async def send_after_renegotiation(client: TlsStream, data: bytes) -> None:
    """Send, again where it falls into a renegotiation: then it fails, and nothing has gone out."""
    while True:
        with suppress(trio.BrokenResourceError):
            return await client.send_all(data)
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("version", "letters"), [(VERSIONS[1], b"kKK"), (VERSIONS[0], b"rr")], ids=["keys", "anew"]
)
async def test_key_updates_both_ways_and_renegotiation(
    authority: trustme.CA, tmp_path: Path, version: ssl.TLSVersion, letters: bytes
) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.maximum_version = version
    texts, received = trio.open_memory_channel[bytes](10)

    async def read(client: TlsStream) -> None:
        while data := await client.receive_some():
            texts.send_nowait(data)

    with trio.fail_after(60):
        async with openssl_server(authority, tmp_path) as server, trio.open_nursery() as nursery:
            port = int((await server.wait_for(b"ACCEPT 127.0.0.1:")).strip())
            socket = await trio.open_tcp_stream("127.0.0.1", port)
            noticing = Noticing(socket)
            transport = trio.StapledStream(socket, noticing)
            client = await start_tls(transport, context, HOST, timeout=30)
            nursery.start_soon(read, client)
            await client.send_all(b"hello\n")
            await server.wait_for(b"hello")
            await server.tell(b"settled\n")  # behind its tickets
            assert await received.receive() == b"settled\n"
            for letter in letters:  # K asks us to change our keys as well
                await send_after_renegotiation(client, b"before %c\n" % letter)
                await server.wait_for(b"before %c" % letter)
                noticing.came = trio.Event()
                await server.tell(b"%c\n" % letter)
                await noticing.came.wait()
                await server.tell(b"with new keys\n")
                assert await received.receive() == b"with new keys\n"
                await send_after_renegotiation(client, b"after %c\n" % letter)
                await server.wait_for(b"after %c" % letter)
            nursery.cancel_scope.cancel()
            await trio.aclose_forcefully(client)


# Under trio-websocket -----------------------------------------------------------------------------


async def test_a_websocket_of_trio_websocket_over_tls(authority: trustme.CA) -> None:
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    large, echoed = "€" * 100_000, []

    async def converse(request: trio_websocket.WebSocketRequest) -> None:
        connection = await request.accept()
        for number in range(300):
            await connection.send_message(str(number))
        await connection.ping(b"are you there")  # returns when the pong is here
        await connection.send_message(large)
        echoed.append(await connection.get_message())
        await connection.aclose(4_001, "done")

    messages: list[bytes] = []
    whole = trio.Event()

    def on_read(read: list[bytes], _time: int) -> None:
        messages.extend(read)
        if len(messages) == 301:
            whole.set()

    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            trio_websocket.serve_websocket, converse, "127.0.0.1", 0, serving
        )
        url = f"wss://localhost:{server.port}/"
        with trio.fail_after(60):
            async with open_websocket(url, on_read, ssl_context=trusting) as socket:
                await whole.wait()
                await socket.send_text(large)
                lost = await socket.wait_closed()
        nursery.cancel_scope.cancel()
    assert messages == [*(b"%d" % number for number in range(300)), large.encode()]
    assert echoed == [large]
    assert (lost.code, lost.reason) == (4_001, "closed by the server: done")
    assert socket.pings == 1
