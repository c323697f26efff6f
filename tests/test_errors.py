from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from farm import errors
from farm.errors import (
    AmbiguousSymbol,
    ConfigError,
    ConnectFailed,
    ConnectionLost,
    FarmError,
    HandshakeRefused,
    MissingExtra,
    RestError,
    RestRateLimited,
    RestTimeout,
    TlsFailed,
)

MADE: dict[str, FarmError] = {
    type(error).__name__: error
    for error in (
        AmbiguousSymbol("BTCUSDT", ["binance/spot", "bybit/linear"]),
        ConfigError("collectors[0].streams[2]", "is no stream"),
        ConnectFailed("no such host"),
        ConnectionLost("closed by the venue", code=1008),
        HandshakeRefused("too many", code=429, retry_after=30.0),
        MissingExtra("polars", "test"),
        RestError("no such symbol", status=400, body=b'{"code":-1121}'),
        RestRateLimited("slow down", status=429, retry_after=2.5, body=b"{}"),
        RestTimeout("no answer"),
        TlsFailed("unknown authority", code=48),
    )
}
"""One of each class that is made of more than a message."""


def made(name: str) -> FarmError:
    error: FarmError = MADE[name] if name in MADE else getattr(errors, name)("it broke", 7)
    return error


def pickled(protocol: int) -> Callable[[FarmError], FarmError]:
    return lambda error: pickle.loads(pickle.dumps(error, protocol))


WAYS: list[Callable[[FarmError], FarmError]] = [
    copy.copy,
    *(pickled(protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)),
]


def test_every_error_is_listed() -> None:
    defined = [
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__
    ]
    assert sorted(defined) == sorted(errors.__all__)
    assert all(issubclass(getattr(errors, name), FarmError) for name in defined)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_can_be_pickled_and_copied(name: str) -> None:
    error = made(name)
    for way in WAYS:
        again = way(error)
        assert again is not error
        assert type(again) is type(error)
        assert (str(again), again.args) == (str(error), error.args)
        assert vars(again) == vars(error)
        assert getattr(again, "msg", None) == getattr(error, "msg", None)  # an ImportError's text


def test_attributes_and_notes_survive() -> None:
    error = RestRateLimited("slow down", status=418, retry_after=60.0, body=b"{}")
    error.add_note("GET /api/v3/depth")
    again = pickle.loads(pickle.dumps(error))
    assert (again.status, again.retry_after, again.body) == (418, 60.0, b"{}")
    assert again.__notes__ == ["GET /api/v3/depth"]


def test_a_refused_handshake_says_how_long_to_wait_if_the_venue_did() -> None:
    assert HandshakeRefused("busy", code=503).retry_after is None
    again = pickle.loads(pickle.dumps(made("HandshakeRefused")))
    assert (again.code, again.retry_after, again.reason) == (429, 30.0, "too many")
    assert str(again) == "too many (code 429)"
    assert isinstance(again, ConnectionLost)  # weather, whatever the status


def test_an_error_in_a_group_comes_through() -> None:
    group = ExceptionGroup("both", [made("ConfigError"), made("AmbiguousSymbol")])
    again = pickle.loads(pickle.dumps(group))
    assert [str(error) for error in again.exceptions] == [str(e) for e in group.exceptions]
    assert again.exceptions[1].candidates == ["binance/spot", "bybit/linear"]
