"""When a stream counts as dead, and what is done about it; every tick is driven by hand."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from typing import Any

import pytest

from farm.entities import Gap
from farm.exchanges.liveness import (
    FIRST_FRAME,
    LIST_EVERY,
    MANY,
    MAX_REPLACEMENTS,
    MUTE,
    WITNESS_FRAMES,
    Judgement,
    Liveness,
)
from farm.exchanges.rules import MarketRules
from farm.exchanges.session import StreamState, StreamStatus
from farm.types import GapCause, GapUnit
from tests.exchanges.feeding import (
    BINANCE_SPOT,
    BINANCE_USDM,
    BYBIT_LINEAR,
    Drive,
    binance_diff,
    binance_quote,
    binance_trade,
    bybit_book,
    bybit_trades,
    text,
)

HOUR = 3_600
ACTIVE = ["quote", "book"]


class Watch:
    """A Liveness and the statuses it looks at; a tick a second."""

    def __init__(
        self,
        rules: MarketRules,
        specs: Iterable[str],
        symbols: Iterable[str] = ("A",),
        *,
        whole: Iterable[str] = (),
    ) -> None:
        self.rules = rules
        streams = [rules.streams.stream(symbol, spec) for symbol in symbols for spec in specs]
        streams += [rules.streams.market_stream(spec) for spec in whole]
        self.statuses = {stream.name: StreamStatus(stream) for stream in streams}
        self.subject = Liveness(self.statuses, can_list=rules.lists_subscriptions)
        self.now = 0.0
        self.open()

    def open(self) -> None:
        """A new epoch, in which everything is granted."""
        self.subject.opened(self.now)
        for status in self.statuses.values():
            status.state = StreamState.ACKNOWLEDGED
        self.subject.judge(self.now)

    def name(self, spec: str, symbol: str = "A") -> str:
        return self.rules.streams.stream(symbol, spec).name

    def deliver(self, spec: str, symbol: str = "A", frames: int = 1) -> None:
        status = self.statuses[self.name(spec, symbol)]
        status.frames += frames
        status.state = StreamState.LIVE

    def run(self, seconds: float, *going: tuple[str, str] | str, every: int = 1) -> list[Judgement]:
        """Let time pass; the streams in `going` deliver once every so many seconds."""
        found = []
        for second in range(1, int(seconds) + 1):
            self.now += 1
            for one in going if second % every == 0 else ():
                self.deliver(*((one,) if isinstance(one, str) else one))
            judgement = self.subject.judge(self.now)
            if judgement != Judgement():
                found.append(judgement)
        return found

    def reason(self, spec: str, symbol: str = "A") -> str:
        return self.statuses[self.name(spec, symbol)].reason


def resubscribed(judgements: Collection[Judgement]) -> list[str]:
    return [name for judgement in judgements for name in judgement.resubscribe]


def replaced(judgements: Collection[Judgement]) -> list[str]:
    return [judgement.replace for judgement in judgements if judgement.replace is not None]


def asked(judgements: Collection[Judgement]) -> int:
    return sum(judgement.ask_list for judgement in judgements)


# ------------------------------------------------------------------------------- the first message
@pytest.mark.parametrize("rules", [BINANCE_SPOT, BYBIT_LINEAR], ids=lambda rules: rules.key)
def test_where_nothing_ever_came_all_is_subscribed_again_and_then_the_connection_replaced(
    rules: MarketRules,
) -> None:
    watch = Watch(rules, ["book", "book:20" if rules is BINANCE_SPOT else "book:50"], ["A", "B"])
    assert watch.run(FIRST_FRAME) == []
    (judgement,) = watch.run(1)
    assert sorted(judgement.resubscribe) == sorted(watch.statuses)
    assert (judgement.replace, judgement.ask_list) == (None, False)
    assert "on the whole connection" in watch.reason("book")
    assert watch.run(FIRST_FRAME) == []
    (judgement,) = watch.run(1)
    assert judgement.resubscribe == []
    assert judgement.replace is not None
    assert "though it was subscribed again" in judgement.replace


@pytest.mark.parametrize(
    ("spec", "witness"),
    [
        ("book", "quote"),
        ("book", "trade"),
        ("quote", "trade"),
        ("kline:1m", "trade"),
        ("ticker", "agg_trade"),
        ("mini_ticker", "trade"),
        ("trade", "agg_trade"),
        ("agg_trade", "trade"),
    ],
)
def test_a_stream_that_never_delivered_is_dead_where_a_witness_goes_on(
    spec: str, witness: str
) -> None:
    """A wrong route, a name that does not exist: acknowledged all the same."""
    watch = Watch(BINANCE_SPOT, [spec, witness], ["A", "B"])
    going = [(witness, "A"), (spec, "B"), (witness, "B")]
    assert watch.run(FIRST_FRAME, *going) == []
    (judgement,) = watch.run(1, *going)
    assert judgement.resubscribe == [watch.name(spec)]
    assert watch.run(FIRST_FRAME, *going) == []
    (name,) = replaced(watch.run(1, *going))
    assert name.startswith(watch.name(spec))
    assert "while its symbol went on" in name


@pytest.mark.parametrize(
    ("spec", "other"),
    [("quote", "book"), ("kline:1m", "quote"), ("ticker", "book"), ("trade", "quote")],
)
def test_what_moves_without_it_is_no_witness(spec: str, other: str) -> None:
    """Where nobody trades, candles stand still though quotes go on; and so on."""
    watch = Watch(BINANCE_SPOT, [spec, other])
    judgements = watch.run(HOUR, other)
    assert (resubscribed(judgements), replaced(judgements)) == ([], [])


def test_what_delivers_again_is_alive_and_says_so() -> None:
    watch = Watch(BINANCE_SPOT, ACTIVE)
    watch.run(FIRST_FRAME + 1, "quote")
    assert watch.reason("book") != ""
    assert watch.run(10, *ACTIVE) == []
    assert watch.reason("book") == ""
    # The next death begins at the beginning: subscribed again, not replaced at once.
    judgements = watch.run(8 * FIRST_FRAME, "quote")
    assert resubscribed(judgements[:1]) == [watch.name("book")]
    assert replaced(judgements[:1]) == []


# --------------------------------------------------------------------------------------- promises
@pytest.mark.parametrize(
    ("rules", "specs", "whole", "bound"),
    [
        (BINANCE_USDM, ["mark_price"], [], 15),  # every second
        (BINANCE_USDM, ["mark_price@3s"], [], 15),
        (BYBIT_LINEAR, ["quote"], [], 15),  # repeated every 3 s
        (BINANCE_USDM, [], ["quote"], 25),  # every 5 s
        (BINANCE_USDM, [], ["mini_ticker"], 15),
    ],
    ids=lambda value: getattr(value, "key", str(value)),
)
def test_a_promise_that_is_broken_needs_no_other_evidence(
    rules: MarketRules, specs: list[str], whole: list[str], bound: int
) -> None:
    watch = Watch(rules, [*specs, "trade"], whole=whole)
    (name,) = (name for name in watch.statuses if name != watch.name("trade"))
    for _ in range(3):
        watch.statuses[name].frames += 1
        assert watch.run(bound) == []
    judgements = watch.run(3)
    assert resubscribed(judgements) == [name]
    assert replaced(judgements) == []
    judgements = watch.run(bound)
    assert (len(replaced(judgements)), resubscribed(judgements)) == (1, [])


def test_a_promise_is_not_stretched_by_pauses() -> None:
    watch = Watch(BINANCE_USDM, ["mark_price", "trade"])
    assert watch.run(300, "mark_price", every=14) == []
    assert resubscribed(watch.run(16)) == [watch.name("mark_price")]


# ---------------------------------------------------------------------------------- what is learned
def test_six_times_the_longest_pause_so_far_is_death() -> None:
    watch = Watch(BINANCE_SPOT, ACTIVE)
    others = ["quote"]
    watch.run(1, "book", *others)
    watch.run(29, *others)
    watch.run(1, "book", *others)
    assert watch.run(6 * 30, *others) == []
    assert resubscribed(watch.run(1, *others)) == [watch.name("book")]


def test_the_bound_only_grows_and_outlives_the_connection() -> None:
    watch = Watch(BINANCE_SPOT, ACTIVE)
    others = ["quote"]
    watch.run(60, "book", *others, every=30)
    watch.run(120, "book", *others, every=2)  # lively again
    assert watch.run(180, *others) == []
    assert resubscribed(watch.run(1, *others)) == [watch.name("book")]
    watch.open()
    assert watch.run(180, *others) == []
    assert resubscribed(watch.run(1, *others)) == [watch.name("book")]


def test_the_wait_for_the_first_message_teaches_nothing() -> None:
    watch = Watch(BINANCE_SPOT, ACTIVE)
    others = ["quote"]
    watch.run(50, *others)
    watch.run(1, "book", *others)
    assert watch.run(60, *others) == []
    assert resubscribed(watch.run(1, *others)) == [watch.name("book")]


# ----------------------------------------------------------------------------------- quiet symbols
def test_on_binance_a_quiet_symbol_is_asked_about_and_left_alone() -> None:
    watch = Watch(BINANCE_SPOT, ACTIVE, ["A", "B"])
    watch.run(10, *((spec, symbol) for spec in ACTIVE for symbol in "AB"))
    judgements = watch.run(HOUR, *((spec, "B") for spec in ACTIVE))
    assert (resubscribed(judgements), replaced(judgements)) == ([], [])
    assert asked(judgements) > 0
    assert watch.reason("book") == ""


def test_on_bybit_a_quiet_symbol_is_subscribed_again_once_and_never_replaced() -> None:
    specs = ["book", "book:50", "ticker"]
    watch = Watch(BYBIT_LINEAR, specs, ["A", "B"])
    watch.run(10, *((spec, symbol) for spec in specs for symbol in "AB"))
    judgements = watch.run(HOUR, *((spec, "B") for spec in specs))
    assert sorted(resubscribed(judgements)) == sorted(watch.name(spec) for spec in specs)
    assert (replaced(judgements), asked(judgements)) == ([], 0)


def test_a_quiet_symbol_is_not_replaced_where_its_streams_run_out_at_different_times() -> None:
    """That one of them was subscribed again is no message of it."""
    specs = ["book", "book:50", "ticker"]
    watch = Watch(BYBIT_LINEAR, specs, ["A", "B"])
    others = [(spec, "B") for spec in specs]
    watch.run(10, *specs, *others)
    watch.run(20, "book:50", *others, every=20)
    watch.run(10, "book", "ticker", *others)  # pauses of 20 s and 1 s: bounds of 120 s and 60 s
    judgements = watch.run(HOUR, *others)
    assert replaced(judgements) == []
    assert sorted(resubscribed(judgements)) == sorted(watch.name(spec) for spec in specs)


def test_a_subscription_is_no_message_either() -> None:
    watch = Watch(BINANCE_SPOT, ["book"], ["A", "B"])
    watch.run(10, ("book", "A"), ("book", "B"))
    watch.run(40, ("book", "B"))
    late = BINANCE_SPOT.streams.stream("A", "kline:1m")
    watch.statuses[late.name] = StreamStatus(late, StreamState.ACKNOWLEDGED)
    judgements = watch.run(30, ("book", "B"))
    assert (resubscribed(judgements), asked(judgements)) == ([], 1)


def test_few_messages_of_a_witness_prove_nothing_and_ten_do() -> None:
    for frames, dead in ((WITNESS_FRAMES - 1, []), (WITNESS_FRAMES, ["a@depth@100ms"])):
        watch = Watch(BINANCE_SPOT, ["book", "quote"], ["A", "B"])
        others = [("book", "B"), ("quote", "B")]
        watch.run(10, "book", "quote", *others)
        watch.run(frames, "quote", *others)
        judgements = watch.run(FIRST_FRAME + 1 - frames, *others)
        assert resubscribed(judgements) == dead


def test_the_list_is_asked_for_once_a_minute_at_most() -> None:
    symbols = [f"S{i}" for i in range(40)]
    watch = Watch(BINANCE_SPOT, ["book"], ["B", *symbols])
    for symbol in symbols:  # they fall silent one after the other
        watch.run(3, ("book", symbol), ("book", "B"))
    judgements = watch.run(600, ("book", "B"))
    assert 0 < asked(judgements) <= 11


def test_what_is_polled_is_neither_judged_nor_evidence() -> None:
    watch = Watch(BINANCE_USDM, ["book", "open_interest"], ["A", "B"])
    watch.run(10, "book", ("book", "B"))
    judgements = watch.run(300, "open_interest", ("book", "B"))
    assert (resubscribed(judgements), replaced(judgements)) == ([], [])
    assert watch.run(300, "book", ("book", "B"), every=10) == []  # and nobody polls any more
    judgement = watch.subject.listed([watch.name("book"), watch.name("book", "B")], watch.now)
    assert judgement == Judgement()


# ------------------------------------------------------------------------------------------ sparse
TRADES = ["trade", "agg_trade"]


def test_trades_are_dead_where_their_aggregates_go_on_without_them() -> None:
    watch = Watch(BINANCE_SPOT, TRADES)
    watch.run(5, *TRADES)
    assert resubscribed(watch.run(FIRST_FRAME, "agg_trade", every=6)) == []
    (judgement,) = watch.run(1)
    assert judgement.resubscribe == [watch.name("trade")]
    assert "while its symbol went on" in watch.reason("trade")


def test_a_few_aggregates_prove_nothing() -> None:
    watch = Watch(BINANCE_SPOT, TRADES)
    watch.run(5, *TRADES)
    watch.deliver("agg_trade", frames=9)
    judgements = watch.run(HOUR)
    assert (resubscribed(judgements), replaced(judgements)) == ([], [])


def test_sparse_streams_may_be_silent_for_hours_and_are_asked_about() -> None:
    watch = Watch(BINANCE_USDM, ["trade", "liquidation", "quote"])
    watch.run(10, "trade", "quote")
    judgements = watch.run(HOUR, "quote")
    assert (resubscribed(judgements), replaced(judgements)) == ([], [])
    assert 0 < asked(judgements) <= HOUR / LIST_EVERY


def test_many_sparse_streams_that_say_nothing_for_a_quarter_of_an_hour_are_dead() -> None:
    few = Watch(BINANCE_USDM, ["kline:1m"], [f"S{i}" for i in range(MANY - 1)])
    judgements = few.run(HOUR)
    assert (resubscribed(judgements), replaced(judgements)) == ([], [])
    watch = Watch(BINANCE_USDM, ["kline:1m"], [f"S{i}" for i in range(MANY)])
    judgements = watch.run(MUTE + 1)
    assert len(resubscribed(judgements)) == MANY
    assert 0 < len(replaced(watch.run(HOUR))) <= MAX_REPLACEMENTS


def test_bybit_cannot_be_asked_about_what_is_sparse() -> None:
    watch = Watch(BYBIT_LINEAR, ["trade", "liquidation", "quote"])
    assert watch.run(HOUR, "quote") == []


def test_what_its_twin_sent_on_another_connection_proves_nothing() -> None:
    watch = Watch(BINANCE_SPOT, TRADES)
    watch.run(100, *TRADES)
    watch.open()  # and nobody trades
    assert replaced(watch.run(HOUR)) == []
    assert watch.reason("trade") == watch.reason("agg_trade") == ""


def test_what_its_twin_sent_before_it_was_subscribed_again_proves_nothing() -> None:
    watch = Watch(BINANCE_SPOT, TRADES)
    watch.run(5, *TRADES)
    assert resubscribed(watch.run(FIRST_FRAME + 1, "agg_trade")) == [watch.name("trade")]
    assert replaced(watch.run(HOUR)) == []


def test_a_twin_that_still_goes_on_proves_it_again() -> None:
    watch = Watch(BINANCE_SPOT, TRADES)
    watch.run(5, *TRADES)
    judgements = watch.run(3 * FIRST_FRAME, "agg_trade")
    assert resubscribed(judgements) == [watch.name("trade")]
    assert len(replaced(judgements)) == 1


# ----------------------------------------------------------------------------------- what is held
def test_what_the_venue_does_not_hold_is_dead() -> None:
    watch = Watch(BINANCE_SPOT, ["trade", "book"])
    watch.run(10, "book")
    held = [watch.name("book")]
    judgement = watch.subject.listed(held, watch.now)
    assert judgement == Judgement(resubscribe=[watch.name("trade")])
    assert watch.reason("trade") == "the venue does not hold it"
    again = watch.subject.listed(held, watch.now)  # subscribed again, and still not there
    assert again.replace is not None
    assert again.resubscribe == []
    assert watch.subject.listed([*held, watch.name("trade"), "x@y"], watch.now) == Judgement()


def test_the_list_speaks_of_what_is_collected_still() -> None:
    watch = Watch(BINANCE_SPOT, ["trade", "book"])
    watch.run(10, "book")
    del watch.statuses[watch.name("trade")]
    assert watch.subject.listed([watch.name("book")], watch.now) == Judgement()


@pytest.mark.parametrize("state", [StreamState.FAILED, StreamState.REQUESTED])
def test_what_was_refused_or_is_not_granted_yet_is_not_judged(state: StreamState) -> None:
    """A refusal is on record as such; to replace the connection would harm all the others."""
    watch = Watch(BINANCE_SPOT, ["quote", "book"])
    watch.run(10, "quote", "book")
    assert resubscribed(watch.run(FIRST_FRAME + 1, "quote")) == [watch.name("book")]
    watch.statuses[watch.name("book")].state = state
    assert watch.run(10 * FIRST_FRAME, "quote") == []
    assert watch.subject.listed([watch.name("quote")], watch.now) == Judgement()


def test_a_stream_that_was_dropped_and_is_collected_again_begins_anew() -> None:
    watch = Watch(BINANCE_SPOT, ["quote", "book"])
    watch.run(100, "quote", "book")
    stream = BINANCE_SPOT.streams.stream("A", "book")
    watch.statuses[stream.name] = StreamStatus(stream, StreamState.ACKNOWLEDGED)
    watch.run(1, "quote", "book")
    watch.run(1, "quote")
    assert resubscribed(watch.run(10 * FIRST_FRAME, "quote"))[:1] == [stream.name]


# ------------------------------------------------------------------------------------- enough of it
def test_a_connection_is_replaced_three_times_an_hour_at_most() -> None:
    """Here by one stream after the other: each has its first replacement soon."""
    symbols = [f"S{n}" for n in range(12)]
    watch = Watch(BINANCE_SPOT, ["quote", "book"], symbols)
    times = []
    for second in range(2 * HOUR):
        healthy = symbols[1 + second // 600 :]  # one more dies every ten minutes
        going = [("quote", s) for s in symbols] + [("book", s) for s in healthy]
        for judgement in watch.run(1, *going):
            if judgement.replace is not None:
                times.append(watch.now)
                watch.open()
    assert len(times) >= 4
    for first, fourth in zip(times, times[3:], strict=False):
        assert fourth - first >= HOUR


def test_for_one_stream_it_is_replaced_at_growing_intervals_until_it_delivers() -> None:
    watch = Watch(BINANCE_SPOT, ["quote", "book"])

    def replacements(seconds: int) -> list[float]:
        times = []
        for _ in range(seconds):
            for _ in replaced(watch.run(1, "quote")):
                times.append(watch.now)
                watch.open()
        return times

    times = replacements(24 * HOUR)
    assert 3 <= len(times) <= 5
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(later > 4 * earlier for earlier, later in itertools.pairwise(pauses))
    assert "nothing came for" in watch.reason("book")
    watch.run(1, "book", "quote")
    assert len(replacements(24 * HOUR)) >= 1  # as at first


def test_a_quiet_bybit_book_is_subscribed_again_ever_more_rarely() -> None:
    """Each time its snapshot comes: it lives, and now it is known how quiet it is."""
    watch = Watch(BYBIT_LINEAR, ["book", "quote"])
    again = 0
    watch.deliver("book")
    for _ in range(24 * HOUR):
        watch.now += 1
        watch.deliver("quote")  # repeated every few seconds, changed or not
        for name in watch.subject.judge(watch.now).resubscribe:
            again += 1
            watch.deliver("book")
            assert name == watch.name("book")
    assert 0 < again <= 6


def test_a_halted_symbol_of_a_promised_stream_costs_its_neighbours_nothing() -> None:
    watch = Watch(BINANCE_USDM, ["mark_price"], ["A", "B"])
    judgements = watch.run(24 * HOUR, ("mark_price", "A"))
    assert resubscribed(judgements) == [watch.name("mark_price", "B")]
    assert replaced(judgements) == []
    assert "nothing came for" in watch.reason("mark_price", "B")


def test_liquidations_alone_may_be_silent_for_ever() -> None:
    watch = Watch(BINANCE_USDM, ["liquidation"], [f"S{n}" for n in range(2 * MANY)])
    judgements = watch.run(24 * HOUR)
    assert (resubscribed(judgements), replaced(judgements)) == ([], [])


def test_one_replacement_does_for_all_that_is_dead() -> None:
    watch = Watch(BINANCE_SPOT, ["book"], [f"S{n}" for n in range(20)])
    judgements = watch.run(3 * FIRST_FRAME)
    assert len(replaced(judgements)) == 1


# ------------------------------------------------------------------------------- within a session
def silences(gaps: Iterable[Gap]) -> list[tuple[str, int | None, int | None]]:
    assert all(gap.cause is GapCause.SILENCE for gap in gaps)
    return [(gap.feed, gap.start_time, gap.end_time) for gap in gaps]


class Alive(Drive):
    """A core whose quotes go on, while its books do not."""

    def beat(self, seconds: int) -> None:
        """Quotes and ticks, a second apart."""
        for n in range(seconds):
            self.tick(1)
            if self.rules.exchange.value == "binance":
                self.read(binance_quote(self.ordinal + n, ("1", "1"), ("2", "1")))
            else:
                self.read(bybit_trades(f"t{self.ordinal}"), pong())

    def book_message(self) -> bytes:
        if self.rules is BINANCE_SPOT:
            return binance_diff(self.ordinal + 1, self.ordinal + 1)
        return bybit_book("snapshot", self.ordinal + 1)

    def revive(self) -> Any:
        return self.read(self.book_message())


def pong() -> bytes:
    return text({"success": True, "ret_msg": "pong", "op": "ping"})


def silent_book(rules: MarketRules) -> tuple[Alive, int]:
    """A session whose book fell silent, at the instant when it was subscribed again; and the
    instant at which it was last good."""
    drive = Alive(rules, ["book", "quote" if rules is BINANCE_SPOT else "trade"], books=False)
    drive.open()
    drive.revive()
    good = drive.time
    drive.sent()
    while not drive.commands or "ping" in str(drive.commands):
        drive.commands.clear()
        drive.beat(1)
    return drive, good


both = pytest.mark.parametrize("rules", [BINANCE_SPOT, BYBIT_LINEAR], ids=lambda rules: rules.key)


@both
def test_a_dead_stream_is_subscribed_again_and_no_other(rules: MarketRules) -> None:
    drive, _ = silent_book(rules)
    name = drive.stream("book").name
    requests = drive.sent()
    verbs = [str(request.get("method", request.get("op"))).lower() for request in requests]
    assert verbs == ["unsubscribe", "subscribe"]
    assert [request.get("params", request.get("args")) for request in requests] == [[name]] * 2
    assert drive.status("book").state is StreamState.REQUESTED
    assert drive.reconnects() == []


@both
def test_a_silence_begins_at_the_last_good_instant_and_ends_at_the_first_message(
    rules: MarketRules,
) -> None:
    drive, good = silent_book(rules)
    answered = drive.answer_all()
    assert (answered.gaps, answered.up) == ([], ())  # there was an answer before: it proves nothing
    assert drive.status("book").state is StreamState.ACKNOWLEDGED
    drive.beat(5)
    outcome = drive.revive()
    assert silences(outcome.gaps) == [(drive.stream("book").feed, good, drive.time)]
    assert outcome.up == (drive.stream("book").feed,)
    (gap,) = outcome.gaps
    assert (gap.unit, gap.size, gap.edge) == (GapUnit.UNKNOWN, None, "venue")
    assert drive.revive().gaps == []
    assert drive.finish().gaps == []


@both
def test_a_silence_goes_on_through_a_replacement_of_the_connection(rules: MarketRules) -> None:
    drive, good = silent_book(rules)
    drive.answer_all()
    for _ in range(500):
        if drive.reconnects():
            break
        drive.beat(1)
    else:
        pytest.fail("it was not replaced")
    drive.close()
    answered = drive.open()
    others = [gap for gap in answered.gaps if gap.feed != drive.stream("book").feed]
    assert answered.gaps == others  # they are back with the answer
    assert {gap.cause for gap in others} == {GapCause.DISCONNECT}
    drive.beat(3)
    outcome = drive.revive()
    assert silences(outcome.gaps) == [(drive.stream("book").feed, good, drive.time)]


def test_a_dead_stream_is_said_to_be_down_at_once() -> None:
    """Whoever has another copy of it need not wait for what becomes of this one."""
    drive = Drive(BYBIT_LINEAR, ["ticker", "trade"], books=False)
    drive.open()
    for _ in range(int(FIRST_FRAME) + 5):
        drive.read(bybit_trades(str(drive.ordinal)), pong())
        outcome = drive.tick(1)
        if drive.session.statuses["tickers.BTCUSDT"].reason:
            break
        assert outcome.down is None
    kinds = ("ticker", "mark_price", "open_interest")
    assert outcome.down == {f"bybit/linear/BTCUSDT/{kind}" for kind in kinds}
    assert (outcome.rows, outcome.ended) == ([], None)


def test_what_never_delivered_was_never_good_but_when_it_was_granted() -> None:
    drive = Alive(BINANCE_SPOT, ["book", "quote"], books=False)
    drive.open()
    granted = drive.time
    while not drive.commands:
        drive.beat(1)
    outcome = drive.finish()
    assert silences(outcome.gaps) == [("binance/spot/BTCUSDT/book", granted, drive.time)]


def test_a_venue_that_can_be_asked_is_asked_and_its_answer_is_heeded() -> None:
    drive = Drive(BINANCE_SPOT, ["book"], ["BTCUSDT", "ETHUSDT"], books=False)
    drive.open()
    requests: list[dict[str, Any]] = []
    while not requests:
        drive.tick(1)
        drive.read(binance_diff(drive.ordinal, drive.ordinal, symbol="ETHUSDT"))
        requests = drive.sent()
    (request,) = requests
    assert request["method"] == "LIST_SUBSCRIPTIONS"
    assert "params" not in request

    held = {"result": ["btcusdt@depth@100ms", "ethusdt@depth@100ms"], "id": request["id"]}
    outcome = drive.read(text(held))
    assert (outcome.rows, outcome.unparsed, drive.commands) == ([], [], [])
    outcome = drive.read(text(held | {"result": ["ethusdt@depth@100ms"]}))
    assert (outcome.rows, outcome.unparsed) == ([], [])
    assert [request["params"] for request in drive.sent()] == [["btcusdt@depth@100ms"]] * 2


def test_the_answer_may_come_when_a_stream_is_collected_no_longer() -> None:
    drive = Drive(BINANCE_SPOT, ["trade"], ["BTCUSDT", "ETHUSDT"], books=False)
    drive.open()
    drive.tick(1)
    drive.read(binance_trade(1))
    drive.tick(LIST_EVERY + 1)
    (request,) = drive.sent()
    drive.unsubscribe("trade", "ETHUSDT")
    drive.sent()
    outcome = drive.read(text({"result": ["btcusdt@trade"], "id": request["id"]}))
    assert (outcome.unparsed, drive.commands) == ([], [])
