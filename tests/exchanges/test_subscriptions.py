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


def test_what_is_refused_has_failed_even_where_it_delivered() -> None:
    """The venue's word is the last one: what it refuses to go on with is over."""
    desk = Desk(2)
    desk.subject.subscribe(desk.names, 0.0)
    desk.statuses[desk.names[0]].state = StreamState.LIVE
    assert desk.subject.refused(desk.requests.popleft().id, "why", 0.0) == []
    assert desk.statuses[desk.names[0]].state is StreamState.LIVE  # who is to blame is asked yet
    assert [request.names for request in desk.requests] == [[name] for name in desk.names]
    (failed,) = desk.subject.refused(desk.requests[0].id, "why", 0.0)
    assert failed.stream.name == desk.names[0]
    assert (failed.state, failed.reason) == (StreamState.FAILED, "why")


def test_what_was_dropped_meanwhile_is_in_no_answer() -> None:
    desk = Desk(4, chunk=2)
    desk.subject.subscribe(desk.names, 0.0)
    gone = [desk.names[0], desk.names[2]]
    for name in gone:
        del desk.statuses[name]
    first, second = list(desk.requests)
    assert [s.stream.name for s in desk.subject.acknowledged(first.id, 0.0)] == [desk.names[1]]
    (failed,) = desk.subject.refused(second.id, "why", 0.0)  # it stands alone now
    assert failed.stream.name == desk.names[3]


def test_what_is_asked_for_is_known_until_it_is_answered() -> None:
    desk = Desk(3, chunk=2)
    assert not desk.subject.is_asked_for(desk.names[0])
    desk.subject.subscribe(desk.names, 0.0)
    first, second = desk.requests
    assert all(desk.subject.is_asked_for(name) for name in desk.names)
    assert desk.subject.names(first.id) == desk.names[:2]
    desk.subject.acknowledged(first.id, 0.0)
    asked_for = [name for name in desk.names if desk.subject.is_asked_for(name)]
    assert asked_for == desk.subject.names(second.id) == desk.names[2:]
    assert desk.subject.names(first.id) == []


# -------------------------------------------------------------- answers that name no request
def test_an_answer_may_name_streams_instead_of_a_request() -> None:
    desk = Desk(4, chunk=2)
    desk.subject.subscribe(desk.names, 0.0)
    a, b, c, d = desk.names
    confirmed, failed = desk.subject.answered([c, a], [b], 1.0)
    assert [status.stream.name for status in confirmed] == [c, a]
    assert [(status.stream.name, status.reason) for status in failed] == [
        (b, "refused by the venue")
    ]
    assert [status.state for status in desk.statuses.values()] == [
        StreamState.ACKNOWLEDGED,
        StreamState.FAILED,
        StreamState.ACKNOWLEDGED,
        StreamState.REQUESTED,
    ]
    assert [desk.subject.is_asked_for(name) for name in (a, b, d)] == [False, False, True]
    assert desk.subject.answered([a], [b, "no such"], 1.0) == ([], [])  # nobody asked again
    assert desk.subject.overdue(1e9) == [desk.requests[1]]
    desk.subject.answered([d], [], 2.0)
    assert desk.subject.overdue(1e9) == []


def test_of_several_requests_for_one_stream_the_oldest_is_answered_first() -> None:
    """Subscribed anew: the first answer is to the taking back, and grants nothing."""
    desk = Desk(1)
    desk.subject.unsubscribe(desk.names, 0.0)
    desk.subject.subscribe(desk.names, 0.0)
    assert desk.subject.answered(desk.names, [], 1.0) == ([], [])
    assert desk.states() == {StreamState.REQUESTED}
    confirmed, _ = desk.subject.answered(desk.names, [], 1.0)
    assert [status.state for status in confirmed] == [StreamState.ACKNOWLEDGED]


def test_a_request_that_is_answered_in_part_takes_no_answer_twice() -> None:
    desk = Desk(2)
    first, second = desk.names
    desk.subject.subscribe(desk.names, 0.0)
    desk.subject.answered([first], [], 1.0)
    desk.subject.unsubscribe([first], 2.0)
    desk.subject.subscribe([first], 2.0)
    assert desk.subject.answered([first], [], 3.0) == ([], [])  # to the taking back
    assert desk.statuses[first].state is StreamState.REQUESTED
    confirmed, _ = desk.subject.answered([second, first], [], 3.0)
    assert {status.stream.name for status in confirmed} == {first, second}
    assert desk.subject.overdue(1e9) == []


@given(st.data())
def test_streams_are_answered_in_any_order_and_each_once(data: st.DataObject) -> None:
    desk = Desk(12, chunk=data.draw(st.integers(1, 12)))
    desk.subject.subscribe(desk.names, 0.0)
    order = data.draw(st.permutations(desk.names))
    bad = data.draw(st.sets(st.sampled_from(desk.names)))
    granted, refused = [], []
    while order:
        cut = data.draw(st.integers(1, len(order)))
        part, order = order[:cut], order[cut:]
        yes, no = desk.subject.answered(
            [name for name in part if name not in bad], [name for name in part if name in bad], 1.0
        )
        granted += [status.stream.name for status in yes]
        refused += [status.stream.name for status in no]
    assert sorted(granted) == sorted(set(desk.names) - bad)
    assert sorted(refused) == sorted(bad)
    assert desk.subject.overdue(1e9) == []


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
