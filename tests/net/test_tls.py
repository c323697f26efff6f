"""TLS: what is trusted, and what a failed handshake leaves behind."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme
from trio.testing import MockClock

from farm.errors import ConfigError, TlsFailed
from farm.net.tls import check_verifies, create_ssl_context, default_ssl_context, start_tls


def contexts(name: str = "farm.test") -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(a server's context for `name`, a client's context that trusts it)"""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


async def serve_tls(stream: trio.abc.Stream, context: ssl.SSLContext) -> None:
    """Echo once."""
    tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
    await tls.send_all(await tls.receive_some())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", ["farm.test", "127.0.0.1"])
async def test_trusted_peer(version: ssl.TLSVersion, name: str) -> None:
    server, client = contexts(name)
    client.minimum_version = client.maximum_version = version
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_tls, far, server)
        tls = await start_tls(near, client, name, timeout=5)
        assert tls.version() == version.name.replace("_", ".")
        await tls.send_all(b"hello")
        assert await tls.receive_some() == b"hello"
        await far.aclose()  # without close_notify: the end all the same
        assert await tls.receive_some() == b""


@pytest.mark.parametrize(
    ("server_name", "trusting", "message", "alert"),
    [
        ("other.test", True, "certificate refused: Hostname mismatch", "BAD_CERTIFICATE"),
        ("farm.test", False, "certificate refused: unable to get local issuer", "UNKNOWN_CA"),
    ],
)
async def test_untrusted_peer(server_name: str, trusting: bool, message: str, alert: str) -> None:
    server, client = contexts(server_name)
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            with pytest.raises(trio.BrokenResourceError) as told:
                await serve_tls(far, server)
            assert f"ALERT_{alert}" in str(told.value.__cause__)

        nursery.start_soon(serve)
        with pytest.raises(TlsFailed, match=message):
            await start_tls(
                near, client if trusting else create_ssl_context(), "farm.test", timeout=5
            )
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x16\x03\x03\0\0"])
async def test_peer_that_speaks_no_tls(answer: bytes) -> None:
    near, far = trio.testing.memory_stream_pair()
    await far.send_all(answer)
    await far.send_eof()
    with pytest.raises(TlsFailed, match=r"farm.test: TLS handshake failed"):
        await start_tls(near, create_ssl_context(), "farm.test", timeout=5)
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")


async def test_silent_peer(autojump_clock: MockClock) -> None:
    near, _ = trio.testing.memory_stream_pair()
    with pytest.raises(TlsFailed, match="no TLS handshake in 5 s"):
        await start_tls(near, create_ssl_context(), "farm.test", timeout=5)
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")


async def test_cancelled_handshake_closes_the_transport(autojump_clock: MockClock) -> None:
    near, _ = trio.testing.memory_stream_pair()
    with trio.move_on_after(1) as scope:
        await start_tls(near, create_ssl_context(), "farm.test", timeout=5)
    assert scope.cancelled_caught
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")


@pytest.mark.parametrize("hostname", ["", ".test"])
async def test_impossible_hostname(hostname: str) -> None:
    near, _ = trio.testing.memory_stream_pair()
    with pytest.raises(ConfigError, match="hostname"):
        await start_tls(near, create_ssl_context(), hostname, timeout=5)
    with pytest.raises(trio.ClosedResourceError):
        await near.send_all(b"x")


def test_default_context_is_made_once_and_verifies() -> None:
    assert default_ssl_context() is default_ssl_context()
    assert create_ssl_context() is not create_ssl_context()
    check_verifies(default_ssl_context())


def test_context_that_does_not_verify() -> None:
    context = create_ssl_context()
    context.check_hostname = False
    with pytest.raises(ConfigError, match="ssl_context"):
        check_verifies(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.check_hostname = True
    with pytest.raises(ConfigError, match="ssl_context"):
        check_verifies(context)


@pytest.mark.parametrize("roots", ["none", "file", "directory"])
def test_certifi_stands_in_only_where_the_system_has_no_roots(
    roots: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = str(tmp_path / "nowhere")
    monkeypatch.setenv("SSL_CERT_FILE", nowhere)
    monkeypatch.setenv("SSL_CERT_DIR", nowhere)
    if roots == "file":
        trustme.CA().cert_pem.write_to_path(str(tmp_path / "roots.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
    elif roots == "directory":
        trustme.CA().cert_pem.write_to_path(str(tmp_path / "0a1b2c3d.0"))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    loaded = create_ssl_context().cert_store_stats()["x509_ca"]
    assert loaded > 50 if roots == "none" else loaded == (1 if roots == "file" else 0)
