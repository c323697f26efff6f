"""Bybit's control messages, and the heartbeat that the client keeps."""

from __future__ import annotations

import pytest

from farm.exchanges.rules import MarketRules
from farm.exchanges.session import SendText, StreamState
from farm.types import GapCause
from tests.exchanges.feeding import (
    BYBIT,
    BYBIT_LINEAR,
    BYBIT_OPTION,
    BYBIT_SPOT,
    Drive,
    bybit_reply,
    bybit_trades,
    option_reply,
    text,
)

PONGS = {  # one a market, as documented
    "spot": b'{"success":true,"ret_msg":"pong","conn_id":"0970e817","op":"ping"}',
    "linear": b'{"success":true,"ret_msg":"pong","conn_id":"465772b1","req_id":"","op":"ping"}',
    "option": b'{"args":["1672916271846"],"op":"pong"}',
    "private": b'{"req_id":"test","op":"pong","args":["1675418560633"],"conn_id":"cfcb4"}',
}


def opened(rules: MarketRules = BYBIT_LINEAR, *, answered: bool = True) -> Drive:
    drive = Drive(rules, ["trade"], ["BTCUSDT", "ETHUSDT"], books=False)
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


@pytest.mark.parametrize("rules", BYBIT, ids=lambda rules: rules.key)
def test_a_ping_goes_before_whatever_waits(rules: MarketRules) -> None:
    """Thousands of requests may wait their turn; the venue cuts a connection without a ping."""
    drive = opened(rules)
    drive.tick(20)
    assert drive.commands == [SendText(1, '{"op":"ping"}', urgent=True)]
    other = opened(rules, answered=False)
    assert [command.urgent for command in other.commands if isinstance(command, SendText)] == [
        False
    ]


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


def test_a_pong_that_may_be_among_what_was_lost_is_not_missed() -> None:
    drive = opened()
    drive.tick(20)
    assert drive.sent() == [{"op": "ping"}]
    drive.lose(500)
    for second in range(1, 20):
        drive.tick(1)
        drive.read(bybit_trades(str(second)))
    assert drive.reconnects() == []
    drive.tick(1)
    assert drive.sent() == [{"op": "ping"}]  # for this one a pong is due again
    drive.tick(20)
    assert [command.reason for command in drive.reconnects()] == ["no pong"]


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
        ({"success": True, "data": {}, "type": "OTHER_RESP"}, "unnamed"),
        ({"op": "subscribe"}, "subscribe"),
    ],
)
def test_other_messages_are_kept_by_their_op(reply: dict[str, object], kind: str) -> None:
    assert [kept.kind for kept in opened().read(text(reply)).unparsed] == [kind]


def test_of_several_topics_one_that_is_subscribed_already_grants_nothing() -> None:
    """The request was refused for that one; whether it took the others, nothing says."""
    drive = opened(answered=False)
    (request,) = drive.sent()
    drive.read(drive.refused(request, "error:already subscribed,topic:publicTrade.BTCUSDT"))
    states = {status.state for status in drive.session.statuses.values()}
    assert states == {StreamState.REQUESTED}
    assert [again["args"] for again in drive.sent()] == [[topic] for topic in request["args"]]


def test_a_topic_that_is_subscribed_already_is_granted() -> None:
    drive = opened(answered=False)
    for request in drive.sent():
        drive.read(drive.refused(request, "error:already subscribed,topic:x"))
    while requests := drive.sent():  # several were refused together: each is asked for alone
        for request in requests:
            drive.read(drive.refused(request, "error:already subscribed,topic:x"))
    states = {status.state for status in drive.session.statuses.values()}
    assert states == {StreamState.ACKNOWLEDGED}


# ---------------------------------------------------------------------------------------- options
TOPICS = ["publicTrade.BTCUSDT", "publicTrade.ETHUSDT"]


def test_on_options_an_answer_names_topics() -> None:
    drive = opened(BYBIT_OPTION, answered=False)
    outcome = drive.read(option_reply([TOPICS[1]]))
    assert outcome.up == ("bybit/option/ETHUSDT/trade",)
    states = [drive.session.statuses[topic].state for topic in TOPICS]
    assert states == [StreamState.REQUESTED, StreamState.ACKNOWLEDGED]
    outcome = drive.read(option_reply([TOPICS[0]]))
    assert (outcome.up, outcome.unparsed) == (("bybit/option/BTCUSDT/trade",), [])


def test_on_options_one_topic_may_be_refused_and_the_rest_granted() -> None:
    drive = opened(BYBIT_OPTION, answered=False)
    outcome = drive.read(option_reply([TOPICS[0]], [TOPICS[1]]))
    assert [(gap.symbol, gap.cause) for gap in outcome.gaps] == [("ETHUSDT", GapCause.REFUSED)]
    states = [drive.session.statuses[topic].state for topic in TOPICS]
    assert states == [StreamState.ACKNOWLEDGED, StreamState.FAILED]
    drive.commands.clear()
    drive.tick(60)  # the request is answered: it is not overdue
    assert drive.reconnects() == []


def test_on_options_a_request_that_is_answered_in_part_is_overdue() -> None:
    drive = opened(BYBIT_OPTION, answered=False)
    drive.read(option_reply([TOPICS[0]]))
    drive.tick(16)
    assert len(drive.reconnects()) == 1


def test_on_options_a_topic_is_subscribed_anew_by_two_answers() -> None:
    drive = Drive(BYBIT_OPTION, ["book"], ["BTC-26DEC25-100000-C"], books=False)
    drive.open()
    (status,) = drive.session.statuses.values()
    drive.session.resync(status.stream)
    drive.tick(0)
    assert len(drive.sent()) == 2
    for state in (StreamState.REQUESTED, StreamState.ACKNOWLEDGED):
        assert drive.read(option_reply([status.stream.name])).unparsed == []
        assert status.state is state


@pytest.mark.parametrize(
    "reply",
    [
        {"success": True, "data": {"failTopics": []}, "type": "COMMAND_RESP"},
        {"success": True, "data": {"successTopics": ["x"]}, "type": "COMMAND_RESP"},
    ],
)
def test_an_answer_that_names_nothing_of_ours_is_understood(reply: dict[str, object]) -> None:
    drive = opened(BYBIT_OPTION, answered=False)
    assert drive.read(text(reply)).unparsed == []
    assert {status.state for status in drive.session.statuses.values()} == {StreamState.REQUESTED}


def test_an_answer_that_names_topics_in_no_known_way_is_kept() -> None:
    drive = opened(BYBIT_OPTION, answered=False)
    outcome = drive.read(text({"success": False, "ret_msg": "odd", "type": "COMMAND_RESP"}))
    assert [kept.kind for kept in outcome.unparsed] == ["malformed"]
