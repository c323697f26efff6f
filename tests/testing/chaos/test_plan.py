"""A plan follows from its seed."""

from __future__ import annotations

import pickle

from farm.testing.chaos import ChaosPlan
from farm.testing.faults.kinds import KINDS
from farm.types import Exchange, Market


def test_the_same_seed_gives_the_same_plan_wherever_it_is_made() -> None:
    for seed in range(50):
        plan = ChaosPlan.of(seed)
        assert ChaosPlan.of(seed) == plan
        assert pickle.loads(pickle.dumps(plan)) == plan
        assert str(plan.script) in "\n".join(plan.describe())


def test_seeds_reach_every_market_and_every_kind_of_fault() -> None:
    plans = [ChaosPlan.of(seed) for seed in range(400)]
    assert len({plan.market_name for plan in plans}) == 7
    assert {fault.word for plan in plans for fault in plan.script} == set(KINDS)
    assert {(plan.lanes, plan.tls) for plan in plans} == {
        (1, False),
        (1, True),
        (2, False),
        (2, True),
    }


def test_over_sockets_it_takes_seconds_and_no_venue_bans_anybody() -> None:
    plans = [ChaosPlan.of(seed, real=True) for seed in range(200)]
    words = {fault.word for plan in plans for fault in plan.script}
    assert max(plan.seconds for plan in plans) < 5
    assert not words & {"reject", "rest_status", "half_open", "clock_jump"}


def test_a_market_may_be_chosen() -> None:
    plan = ChaosPlan.of(3, market=(Exchange.BYBIT, Market.OPTION))
    assert plan.market_name == "bybit/option"
    assert "quote" not in plan.specs
    assert list(plan.book_streams().values()) == list(plan.symbols)
    assert (
        plan.trade_feeds(plan.symbols[0])
        == {
            "bybit/option/BTC/trade",
            f"bybit/option/{plan.symbols[0]}/trade",
        }
        or len(plan.trade_feeds(plan.symbols[0])) == 1
    )
