"""Binance's control messages."""

from __future__ import annotations

from typing import Any

import pytest

from farm.exchanges.rules import MarketRules
from farm.exchanges.session import Rotate, SendText, StreamState
from tests.exchanges.feeding import (
    BINANCE,
    BINANCE_COINM,
    BINANCE_SPOT,
    BINANCE_USDM,
    Drive,
    binance_trade,
    text,
)


def opened(*specs: str, rules: MarketRules = BINANCE_SPOT) -> Drive:
    drive = Drive(rules, specs or ["trade"], books=False)
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
    for rules, path in ((BINANCE_USDM, "/fapi/v1/depth"), (BINANCE_COINM, "/dapi/v1/depth")):
        drive = opened("book", rules=rules)
        drive.session.resync(drive.stream("book"))
        assert drive.session.take_commands()[-1].path == path


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


@pytest.mark.parametrize("rules", BINANCE, ids=lambda rules: rules.key)
@pytest.mark.parametrize(
    "raw",
    [
        b'{"e":"serverShutdown","E":1770123456789}',
        b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}',
    ],
    ids=["bare", "combined"],
)
def test_a_server_that_shuts_down_is_left_for_another_at_once(
    rules: MarketRules, raw: bytes
) -> None:
    """How long it has is not promised. Until it goes, it is listened to."""
    drive = opened(rules=rules)
    drive.answer_all()
    outcome = drive.read(raw, binance_trade(1))
    assert drive.commands == [Rotate(1, "the server shuts down")]
    assert outcome.unparsed == []
    assert len(outcome.rows) == 1
    assert drive.session.statuses["btcusdt@trade"].state is StreamState.LIVE


def test_a_server_is_left_once_however_often_it_says_that_it_shuts_down() -> None:
    notice = b'{"e":"serverShutdown","E":1770123456789}'
    drive = opened()
    drive.answer_all()
    for _ in range(2):
        drive.read(notice, notice)
    assert drive.commands == [Rotate(1, "the server shuts down")]
    drive.open()
    drive.read(notice)
    assert drive.commands[-1] == Rotate(2, "the server shuts down")


# ------------------------------------------------------------------------- what the venue holds
LIST = {"method": "LIST_SUBSCRIPTIONS"}


def asking() -> tuple[Drive, Any]:
    """A session that has just asked what the venue holds, for one of its two symbols is silent;
    and its request's id."""
    drive = Drive(BINANCE_SPOT, ["trade"], ["BTCUSDT", "ETHUSDT"], books=False)
    drive.open()
    requests: list[Any] = []
    while not requests:
        drive.tick(1)
        drive.read(binance_trade(drive.ordinal))
        requests = drive.sent()
    (request,) = requests
    assert request == LIST | {"id": request["id"]}
    assert isinstance(request["id"], int)
    return drive, request["id"]


def test_the_list_is_asked_for_under_an_id_of_its_own() -> None:
    drive, list_id = asking()
    ids = []
    for _ in range(50):
        drive.unsubscribe("trade", "ETHUSDT")
        drive.subscribe("trade", "ETHUSDT")
        ids += [request["id"] for request in drive.sent()]
    assert list_id not in ids
    assert 0 < list_id < 2**63


def test_what_the_venue_does_not_hold_is_subscribed_again() -> None:
    drive, list_id = asking()
    outcome = drive.read(text({"result": ["btcusdt@trade"], "id": list_id}))
    assert (outcome.rows, outcome.unparsed) == ([], [])
    assert [(r["method"], r["params"]) for r in drive.sent()] == [
        ("UNSUBSCRIBE", ["ethusdt@trade"]),
        ("SUBSCRIBE", ["ethusdt@trade"]),
    ]


@pytest.mark.parametrize("result", [None, {}, [1], "btcusdt@trade"], ids=repr)
def test_a_list_that_is_none_is_kept_and_heeded_by_nobody(result: Any) -> None:
    drive, list_id = asking()
    drive.commands.clear()
    outcome = drive.read(text({"result": result, "id": list_id}))
    assert len(outcome.unparsed) == 1
    assert drive.commands == []


def test_a_refusal_to_say_is_no_list() -> None:
    drive, list_id = asking()
    drive.commands.clear()
    drive.read(text({"error": {"code": 2, "msg": "Invalid request"}, "id": list_id}))
    assert drive.commands == []


# ---------------------------------------------------------------------------------- what is kept
@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ([{"e": "1hTicker", "s": "BNBBTC"}], "1hTicker"),  # a list, too, has a type
        ({"e": "avgPrice"}, "avgPrice"),
        ([], "!x@arr"),
        ({}, "!x@arr"),
        ([{}], "!x@arr"),
        ({"e": None}, "!x@arr"),
    ],
)
def test_a_stream_that_nobody_asked_for_is_kept_by_its_type(data: Any, kind: str) -> None:
    drive = opened()
    outcome = drive.read(text({"stream": "!x@arr", "data": data}))
    assert [kept.kind for kept in outcome.unparsed] == [kind]


def test_the_server_pings_so_time_asks_for_nothing() -> None:
    drive = opened()
    drive.answer_all()
    drive.tick(3600)
    assert drive.commands == []
