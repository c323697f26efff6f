"""Chaos: seeded runs in which everything goes wrong, and proof that they would see it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from farm import Batch, Quote, Trade
from farm.actors.policy import Record
from farm.books.sync import BookSync
from farm.bundle import Bundle
from farm.exchanges.continuity import TradeContinuity
from farm.exchanges.core import CoreSession
from farm.exchanges.id_chain import ContinuityCounts, IdChain
from farm.exchanges.outages import Outages
from farm.exchanges.session import StreamStatus
from farm.net.rest import RestClient
from farm.storage.parquet import ParquetStore
from farm.testing import FaultScript
from farm.testing.chaos import ChaosPlan, ChaosResult, run_chaos
from farm.testing.chaos.crashes import Crash, Stage
from farm.types import Completeness, Exchange, Market
from tests.effort import runs

SEEDS_OF_A_TEST = 10
BYBIT = Exchange.BYBIT, Market.LINEAR
SPOT = Exchange.BINANCE, Market.SPOT


def calm(market: tuple[Exchange, Market], *faults: str, **changes: Any) -> ChaosPlan:
    """A plan in which nothing goes wrong but this."""
    script = FaultScript.parse("\n".join(faults))
    usual: dict[str, Any] = {"crashes": (), "lanes": 1, "pause": 0.0, "room": 1 << 20}
    plan = ChaosPlan.of(1, market=market)
    return attrs.evolve(
        plan, script=script, **(usual | {"stored": False, "seconds": 20.0} | changes)
    )


def said(result: ChaosResult) -> str:
    """What a failing run tells whoever must repeat it."""
    return "\n".join([*result.plan.describe(), *result.violations])


@pytest.mark.parametrize("group", range(runs(200 // SEEDS_OF_A_TEST)))
def test_nothing_is_lost_in_silence_and_nothing_is_called_verified_that_is_not(group: int) -> None:
    for seed in range(group * SEEDS_OF_A_TEST, (group + 1) * SEEDS_OF_A_TEST):
        result = run_chaos(ChaosPlan.of(seed))
        assert not result.violations, said(result)


@pytest.mark.parametrize("seed", range(runs(12)))
def test_nor_over_real_sockets(seed: int) -> None:
    result = run_chaos(ChaosPlan.of(seed, real=True))
    assert not result.violations, said(result)


@pytest.mark.parametrize("market", [SPOT, BYBIT])
def test_a_calm_run_delivers_everything(market: tuple[Exchange, Market]) -> None:
    result = run_chaos(calm(market, stored=True))
    assert result.violations == []
    assert result.balance is not None
    assert result.balance.owed == result.balance.delivered > 20
    assert result.quotes is not None
    assert result.quotes.owed == result.quotes.delivered > 10
    assert result.compared > 50
    assert result.hits == 0


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("times", [1, 2])
def test_a_crash_loses_nothing_in_silence(stage: Stage, after: bool, times: int) -> None:
    for market in (SPOT, BYBIT):
        crashes = tuple(Crash(at, stage, after, times) for at in (3.03, 8.51))
        result = run_chaos(calm(market, stored=True, crashes=crashes))
        assert not result.violations, said(result)


# ------------------------------------------------------------------------- what it must not miss
def fails_with(text: str, plan: ChaosPlan) -> None:
    violations = run_chaos(plan).violations
    assert any(text in violation for violation in violations), violations


def test_it_sees_a_loss_without_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = calm(BYBIT, "8 restart seconds=3")
    assert run_chaos(plan).violations == []
    monkeypatch.setattr(Outages, "back", lambda *_args: [])
    fails_with("neither delivered nor in a gap", plan)


def without(monkeypatch: pytest.MonkeyPatch, kind: type[Any]) -> None:
    """No event of this kind leaves the line."""
    take = TradeContinuity.take

    def losing(self: TradeContinuity, bundle: Bundle) -> Bundle:
        taken = take(self, bundle)
        return attrs.evolve(taken, batches=[b for b in taken.batches if b.kind is not kind])

    monkeypatch.setattr(TradeContinuity, "take", losing)


@pytest.mark.parametrize("market", [SPOT, BYBIT])
def test_it_sees_that_all_trades_of_a_symbol_are_lost(
    market: tuple[Exchange, Market], monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, Trade)
    fails_with("neither delivered nor in a gap", calm(market))


@pytest.mark.parametrize("market", [SPOT, BYBIT])
def test_it_sees_that_quotes_are_lost(
    market: tuple[Exchange, Market], monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, Quote)
    result = run_chaos(calm(market))
    assert result.quotes is not None
    assert (result.quotes.owed > 10, result.quotes.delivered) == (True, 0)
    assert "quotes" in result.violations[0], said(result)


def test_it_sees_a_quote_that_was_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    take = TradeContinuity.take

    def changing(self: TradeContinuity, bundle: Bundle) -> Bundle:
        taken = take(self, bundle)
        for quote in (row for b in taken.batches if b.kind is Quote for row in b.rows):
            quote.bid_quantity *= 2
        return taken

    monkeypatch.setattr(TradeContinuity, "take", changing)
    fails_with("was never told", calm(SPOT))


def test_it_sees_completeness_that_is_claimed_falsely(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = calm(SPOT, "8 drop btcusdt@trade count=3")
    assert run_chaos(plan).violations == []
    claim = property(lambda _counts: Completeness.COMPLETE)
    monkeypatch.setattr(ContinuityCounts, "completeness", claim)
    fails_with("called complete without: 3 trades", plan)


def test_it_sees_a_gap_that_claims_what_was_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = calm(SPOT, "8 drop btcusdt@trade count=3")
    hole = IdChain._hole

    def wider(self: IdChain, first: int, last: int, row: Any) -> Any:
        return hole(self, first - 1, last, row)

    monkeypatch.setattr(IdChain, "_hole", wider)
    fails_with("which had been delivered", plan)


def test_it_sees_a_gap_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = calm(BYBIT, "8 restart seconds=3")
    gaps = Outages._gaps

    def earlier(self: Outages, status: StreamStatus, *more: Any) -> Any:
        assert status.down_since is not None
        status.down_since -= 5_000_000_000
        return gaps(self, status, *more)

    monkeypatch.setattr(Outages, "_gaps", earlier)
    fails_with("events that came meanwhile", plan)


def test_it_sees_a_gap_where_nothing_went_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    acknowledged = Outages.acknowledged

    def suspicious(self: Outages, statuses: Any, time: int, ordinal: int) -> Any:
        for status in statuses:
            status.down_since = time
        return acknowledged(self, statuses, time, ordinal)

    monkeypatch.setattr(Outages, "acknowledged", suspicious)
    fails_with("nothing went wrong, and", calm(BYBIT))


@pytest.mark.parametrize(
    ("how", "owner", "name"),
    [("garbage", Outages, "unplaced"), ("nan", CoreSession, "_quarantined")],
)
def test_it_sees_that_spoilt_frames_are_not_recorded(
    how: str, owner: type[Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = calm(BYBIT, f"8 corrupt publicTrade.BTCUSDT how={how} count=3", symbols=("BTCUSDT",))
    assert run_chaos(plan).violations == []
    monkeypatch.setattr(owner, name, lambda *_args: [])
    fails_with("neither delivered nor in a gap", plan)


def test_it_sees_a_number_that_is_stored_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = calm(SPOT, stored=True)
    add = ParquetStore.add

    def rounding(self: ParquetStore, batch: Batch[Any], now: float) -> None:
        if batch.kind is Trade:
            rows = [attrs.evolve(row, price=round(row.price)) for row in batch.rows]
            batch = Batch(Trade, rows=rows, origins=batch.origins, numbers=batch.numbers)
        add(self, batch, now)

    monkeypatch.setattr(ParquetStore, "add", rounding)
    fails_with("is stored as", plan)


def test_it_sees_what_is_delivered_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = calm(SPOT, "8 duplicate btcusdt@trade count=3")
    assert run_chaos(plan).violations == []
    monkeypatch.setattr(TradeContinuity, "_without_repeats", lambda _self, bundle: bundle)
    fails_with("delivered more than once", plan)


def test_it_sees_a_book_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = calm(SPOT, "8 sequence_break btcusdt@depth@100ms count=3")
    assert run_chaos(plan).violations == []
    monkeypatch.setattr(BookSync, "_falls", lambda _self, _verdict: None)
    fails_with("says verified", plan)


def test_it_sees_what_does_not_recover(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Record, "_pause", lambda *_args: 10_000.0)
    fails_with("not well again", calm(SPOT, "8 refuse seconds=5", "8.1 reset"))


def test_it_sees_what_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def leave(_self: RestClient) -> None:
        pass

    monkeypatch.setattr(RestClient, "aclose", leave)
    fails_with("left open", calm(SPOT))


def test_it_sees_that_the_farm_fell(monkeypatch: pytest.MonkeyPatch) -> None:
    fails_with("RestartsExceeded", calm(SPOT, crashes=(Crash(3.0, Stage.PARSER, False, 50),)))
