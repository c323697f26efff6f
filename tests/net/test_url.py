"""URLs on the wire."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.errors import ConfigError
from farm.net.url import parse_endpoint

WS = ("ws", "wss")


@pytest.mark.parametrize(
    ("url", "host", "port", "target", "authority", "secure"),
    [
        ("ws://a.test", "a.test", 80, "/", "a.test", False),
        ("wss://A.test/x", "a.test", 443, "/x", "a.test", True),
        ("wss://a.test:443/x", "a.test", 443, "/x", "a.test", True),
        ("wss://a.test:80/x", "a.test", 80, "/x", "a.test:80", True),
        ("ws://[::1]:9443", "::1", 9443, "/", "[::1]:9443", False),
        ("ws://bücher.test/ü", "xn--bcher-kva.test", 80, "/%C3%BC", "xn--bcher-kva.test", False),
        ("ws://a.test/s?streams=a@b/c", "a.test", 80, "/s?streams=a@b/c", "a.test", False),
        ("ws://a.test/%E5%B8%81 b#f", "a.test", 80, "/%E5%B8%81%20b", "a.test", False),
        ("ws://a.test?x=1", "a.test", 80, "/?x=1", "a.test", False),
    ],
)
def test_parts(url: str, host: str, port: int, target: str, authority: str, secure: bool) -> None:
    endpoint = parse_endpoint(url, WS)
    assert (endpoint.host, endpoint.port, endpoint.target) == (host, port, target)
    assert (endpoint.authority, endpoint.secure, endpoint.url) == (authority, secure, url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ws:",
        "ws://",
        "a.test/x",
        "https://a.test",
        "ws://a.test:0",
        "ws://a.test:x",
        "ws://a.test:65536",
        "ws://user@a.test",
        "ws://[::1",
        "ws://a..test",
        f"ws://{'a' * 64}.test",
    ],
)
def test_unusable(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_endpoint(url, WS)
    assert caught.value.path == "url"
    assert repr(url) in str(caught.value)


@given(st.text(st.characters(exclude_characters="?#%\t\r\n\\", exclude_categories=["Cs"])))
def test_any_path_is_ascii_and_can_be_read_back(path: str) -> None:
    endpoint = parse_endpoint(f"ws://a.test/{path}", WS)
    assert endpoint.target.isascii()
    assert not any(character <= " " for character in endpoint.target)
    assert unquote(endpoint.target) == f"/{path}"
