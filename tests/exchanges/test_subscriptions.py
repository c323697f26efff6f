"""Requests in chunks, their answers by id, and the search for the name that spoils a request."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from farm.exchanges.session import StreamState, StreamStatus
from farm.exchanges.subscriptions import ACK_DEADLINE, Request, Subscriptions
from tests.exchanges.feeding import BINANCE_SPOT


class Desk:
    """Subscriptions and the requests that they sent."""

    def __init__(self, count: int, chunk: int = 10) -> None:
        streams = [BINANCE_SPOT.streams.stream(f"S{n}", "trade") for n in range(count)]
        self.statuses = {stream.name: StreamStatus(stream) for stream in streams}
        self.requests: deque[Request] = deque()
        self.subject = Subscriptions(self.statuses, chunk=chunk, send=self.requests.append)
        self.names = list(self.statuses)

    def states(self) -> set[StreamState]:
        return {status.state for status in self.statuses.values()}


@given(st.integers(0, 60), st.integers(1, 25))
def test_all_names_go_out_in_order_in_full_chunks_under_fresh_ids(count: int, chunk: int) -> None:
    desk = Desk(count, chunk)
    desk.subject.subscribe(desk.names, 0.0)
    assert [name for request in desk.requests for name in request.names] == desk.names
    assert all(len(request.names) == chunk for request in list(desk.requests)[:-1])
    assert all(0 < len(request.names) <= chunk for request in desk.requests)
    desk.subject.opened()  # a new connection: the ids of the old one are never used again
    desk.subject.subscribe(desk.names, 1.0)
    ids = [request.id for request in desk.requests]
    assert len(set(ids)) == len(ids)


def test_an_answer_confirms_the_streams_of_its_request_alone() -> None:
    desk = Desk(25)
    desk.subject.subscribe(desk.names, 0.0)
    assert desk.states() == {StreamState.REQUESTED}
    second = desk.requests[1]
    confirmed = desk.subject.acknowledged(second.id, 0.0)
    assert [status.stream.name for status in confirmed] == second.names
    for name, status in desk.statuses.items():
        expected = StreamState.ACKNOWLEDGED if name in second.names else StreamState.REQUESTED
        assert status.state is expected
    assert desk.subject.acknowledged(second.id, 0.0) == []  # answered already
    assert desk.subject.acknowledged("no such id", 0.0) == []
    assert desk.subject.refused("no such id", "why", 0.0) == []


def test_an_answer_after_the_first_data_takes_nothing_back() -> None:
    desk = Desk(1)
    desk.subject.subscribe(desk.names, 0.0)
    desk.statuses[desk.names[0]].state = StreamState.LIVE
    assert len(desk.subject.acknowledged(desk.requests[0].id, 0.0)) == 1
    assert desk.states() == {StreamState.LIVE}


@given(st.sets(st.integers(0, 29)), st.integers(1, 30))
def test_bad_names_are_found_by_halving_and_no_good_one_suffers(bad: set[int], chunk: int) -> None:
    desk = Desk(30, chunk)
    refusing = {desk.names[n] for n in bad}
    desk.subject.subscribe(desk.names, 0.0)
    asked, failed = 0, []
    while desk.requests:
        request = desk.requests.popleft()
        asked += 1
        if refusing & set(request.names):  # one bad name refuses the whole request
            failed += desk.subject.refused(request.id, "handler not found", 1.0)
        else:
            desk.subject.acknowledged(request.id, 0.0)
    assert {status.stream.name for status in failed} == refusing
    assert len(failed) == len(refusing)
    assert asked <= -(-30 // chunk) + len(bad) * 2 * 5  # two halves, five levels, each bad name
    for name, status in desk.statuses.items():
        if name in refusing:
            assert (status.state, status.reason) == (StreamState.FAILED, "handler not found")
        else:
            assert status.state is StreamState.ACKNOWLEDGED
    assert desk.subject.overdue(1e9) == []


def test_a_refused_request_does_not_fail_what_delivers() -> None:
    desk = Desk(2)
    desk.subject.subscribe(desk.names, 0.0)
    desk.statuses[desk.names[0]].state = StreamState.LIVE
    (failed,) = desk.subject.refused(desk.requests[0].id, "why", 0.0)
    assert failed.stream.name == desk.names[1]
    assert desk.statuses[desk.names[0]].state is StreamState.LIVE


def test_a_request_without_an_answer_is_overdue_in_the_end() -> None:
    desk = Desk(15)
    desk.subject.subscribe(desk.names, 100.0)
    first, second = desk.requests
    desk.subject.acknowledged(first.id, 0.0)
    assert desk.subject.overdue(100.0 + ACK_DEADLINE) == []
    assert desk.subject.overdue(100.1 + ACK_DEADLINE) == [second]
    desk.subject.unsubscribe(desk.names[:1], 110.0)
    desk.subject.acknowledged(desk.requests[-1].id, 114.0)  # others are answered: it may wait
    assert desk.subject.overdue(114.0 + ACK_DEADLINE) == []
    assert desk.subject.overdue(114.1 + ACK_DEADLINE) == [second]
    desk.subject.opened()
    assert desk.subject.overdue(1e9) == []
    assert desk.states() == {StreamState.IDLE}


def test_taking_streams_back_changes_no_state_and_its_refusal_fails_nobody() -> None:
    desk = Desk(12)
    desk.subject.unsubscribe(desk.names, 0.0)
    first, second = desk.requests
    assert not first.subscribes
    assert [len(first.names), len(second.names)] == [10, 2]
    assert desk.subject.acknowledged(first.id, 0.0) == []
    assert desk.subject.refused(second.id, "why", 0.0) == []
    assert desk.states() == {StreamState.IDLE}
    assert desk.subject.overdue(1e9) == []
