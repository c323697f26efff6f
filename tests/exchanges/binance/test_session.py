"""Binance's control messages."""

from __future__ import annotations

from typing import Any

import pytest

from farm.exchanges.session import SendText, StreamState
from tests.exchanges.feeding import BINANCE_SPOT, Drive, binance_trade, text


def opened(*specs: str) -> Drive:
    drive = Drive(BINANCE_SPOT, specs or ["trade"])
    drive.open(answered=False)
    return drive


def state(drive: Drive) -> StreamState:
    return drive.session.statuses["btcusdt@trade"].state


def test_the_request_is_the_documented_one() -> None:
    (command,) = opened("trade", "book").commands
    assert command == SendText(
        1, '{"method":"SUBSCRIBE","params":["btcusdt@trade","btcusdt@depth@100ms"],"id":1}'
    )


def test_the_snapshot_request_is_the_documented_one() -> None:
    drive = Drive(BINANCE_SPOT, ["book"], ["币安人生USDT"])
    drive.open()
    drive.session.resync(drive.stream("book", "币安人生USDT"))
    (fetch,) = drive.session.take_commands()
    assert fetch.path == "/api/v3/depth"
    assert fetch.params == (("symbol", "币安人生USDT"), ("limit", 1000))


@pytest.mark.parametrize("answer_id", [1, "1"])
def test_an_answer_grants(answer_id: Any) -> None:
    drive = opened()
    assert drive.read(text({"result": None, "id": answer_id})).unparsed == []
    assert state(drive) is StreamState.ACKNOWLEDGED


@pytest.mark.parametrize(
    "reply",
    [
        {"code": 2, "msg": "Invalid request", "id": 1},
        {"error": {"code": 2, "msg": "Invalid request"}, "id": 1},
        {"id": 1, "result": None, "error": {"code": 2, "msg": "Invalid request", "data": {}}},
    ],
)
def test_an_error_refuses_in_either_shape(reply: dict[str, Any]) -> None:
    drive = opened()
    outcome = drive.read(text(reply))
    assert outcome.unparsed == []
    assert len(outcome.gaps) == 1
    assert state(drive) is StreamState.FAILED
    assert drive.session.statuses["btcusdt@trade"].reason == "Invalid request (code 2)"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ({"code": 3, "msg": "Invalid JSON"}, "error 3"),
        ({"error": {"code": 3, "msg": "Invalid JSON"}, "id": None}, "error 3"),
        ({"id": 1}, "unnamed"),
        ({"result": None}, "unnamed"),
        ({"e": "trade", "t": 1}, "trade"),  # a raw-mode payload: no stream, no route
    ],
)
def test_an_answer_to_nothing_in_particular_is_kept(reply: dict[str, Any], kind: str) -> None:
    drive = opened()
    assert [kept.kind for kept in drive.read(text(reply)).unparsed] == [kind]
    assert state(drive) is StreamState.REQUESTED


@pytest.mark.parametrize(
    "raw",
    [
        b'{"e":"serverShutdown","E":1770123456789}',
        b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}',
    ],
)
def test_the_notice_of_a_shutdown_is_kept_by_its_name(raw: bytes) -> None:
    drive = opened()
    assert [kept.kind for kept in drive.read(raw, binance_trade(1)).unparsed] == ["serverShutdown"]


def test_the_server_pings_so_time_asks_for_nothing() -> None:
    drive = opened()
    drive.answer_all()
    drive.tick(3600)
    assert drive.commands == []
