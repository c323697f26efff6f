"""Bybit's control messages, and the heartbeat that the client keeps."""

from __future__ import annotations

import pytest

from farm.exchanges.session import SendText, StreamState
from tests.exchanges.feeding import (
    BYBIT_LINEAR,
    BYBIT_SPOT,
    Drive,
    bybit_reply,
    bybit_trades,
    text,
)

PONGS = {  # one a market, as documented
    "spot": b'{"success":true,"ret_msg":"pong","conn_id":"0970e817","op":"ping"}',
    "linear": b'{"success":true,"ret_msg":"pong","conn_id":"465772b1","req_id":"","op":"ping"}',
    "option": b'{"args":["1672916271846"],"op":"pong"}',
    "private": b'{"req_id":"test","op":"pong","args":["1675418560633"],"conn_id":"cfcb4"}',
}


def opened(rules=BYBIT_LINEAR, answered: bool = True) -> Drive:
    drive = Drive(rules, ["trade"], ["BTCUSDT", "ETHUSDT"])
    drive.open(answered=answered)
    return drive


def test_the_request_is_the_documented_one() -> None:
    (command,) = opened(answered=False).commands
    assert command == SendText(
        1,
        '{"req_id":"1","op":"subscribe","args":["publicTrade.BTCUSDT","publicTrade.ETHUSDT"]}',
    )


def test_spot_takes_ten_topics_a_request() -> None:
    drive = Drive(BYBIT_SPOT, ["trade", "book", "quote"], [f"S{n}" for n in range(8)])
    drive.open(answered=False)
    assert [len(request["args"]) for request in drive.sent()] == [10, 10, 4]


@pytest.mark.parametrize("why", ["", "subscribe"])  # linear and spot
def test_an_answer_grants(why: str) -> None:
    drive = opened(answered=False)
    assert drive.read(bybit_reply("1", why=why)).unparsed == []
    states = {status.state for status in drive.session.statuses.values()}
    assert states == {StreamState.ACKNOWLEDGED}


def test_a_refusal_without_an_id_is_kept_for_it_says_which_topic() -> None:
    drive = opened(answered=False)
    reply = {"success": False, "ret_msg": "error:handler not found,topic:x", "op": "subscribe"}
    outcome = drive.read(text(reply))
    assert [kept.kind for kept in outcome.unparsed] == ["subscribe refused"]
    assert outcome.gaps == []


@pytest.mark.parametrize("pong", PONGS.values(), ids=PONGS)
def test_a_ping_every_20_s_and_every_shape_of_pong_keeps_the_line(pong: bytes) -> None:
    drive = opened()
    pings = []
    for second in range(1, 101):
        drive.tick(1)
        for ping in drive.sent():
            pings.append(second)
            assert ping == {"op": "ping"}
            assert drive.read(pong).unparsed == []
    assert pings == [20, 40, 60, 80, 100]
    assert drive.reconnects() == []


def test_a_ping_without_a_pong_ends_the_connection_though_data_flows() -> None:
    drive = opened()
    for second in range(1, 40):
        drive.tick(1)
        drive.read(bybit_trades(str(second)))
    assert drive.sent() == [{"op": "ping"}]
    assert drive.reconnects() == []
    drive.tick(1)
    assert [command.reason for command in drive.reconnects()] == ["no pong"]
    assert drive.sent() == []
    drive.close()
    drive.open()
    drive.tick(19)  # the new connection has its own 20 s
    assert drive.commands == []
    drive.tick(1)
    assert drive.sent() == [{"op": "ping"}]


def test_ticks_that_come_late_send_one_ping_each() -> None:
    drive = opened()
    drive.tick(19.9)
    drive.tick(500)  # the process was suspended
    assert drive.sent() == [{"op": "ping"}]
    assert drive.reconnects() == []


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ({"success": True, "ret_msg": "", "op": "auth", "conn_id": "x"}, "auth"),
        ({"op": "ping", "ret_msg": "odd", "success": False}, "ping"),
        ({"success": True, "data": {"failTopics": []}, "type": "COMMAND_RESP"}, "unnamed"),
        ({"op": "subscribe"}, "subscribe"),
    ],
)
def test_other_messages_are_kept_by_their_op(reply: dict[str, object], kind: str) -> None:
    assert [kept.kind for kept in opened().read(text(reply)).unparsed] == [kind]


def test_a_topic_that_is_subscribed_already_is_granted() -> None:
    drive = opened(answered=False)
    for request in drive.sent():
        drive.read(drive.refused(request, "error:already subscribed,topic:x"))
    while requests := drive.sent():  # several were refused together: each is asked for alone
        for request in requests:
            drive.read(drive.refused(request, "error:already subscribed,topic:x"))
    states = {status.state for status in drive.session.statuses.values()}
    assert states == {StreamState.ACKNOWLEDGED}
