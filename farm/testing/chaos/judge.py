"""The judgement on a run: what its reader saw and what farm claims, against the truth."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import attrs

from farm import FarmStats, Quote
from farm.testing.chaos.ledger import Account
from farm.testing.chaos.moments import Moments
from farm.testing.chaos.observer import Observer
from farm.testing.chaos.outcome import DRAIN, ChaosResult, Outcome, Stored
from farm.testing.chaos.patience import slack
from farm.testing.chaos.plan import ChaosPlan
from farm.testing.chaos.truth import Truth
from farm.types import Symbol

__all__ = ["judge"]

MOST_LISTED = 5
"""Events or gaps of one kind that are named."""


def judge(plan: ChaosPlan, outcome: Outcome, truth: Truth, moments: Moments) -> ChaosResult:
    """Judge what a run left behind. ``moments``: of the farm's wall clock."""
    observer, stats = outcome.observer, outcome.stats
    violations = list(outcome.violations)
    if observer is None or stats is None:
        return ChaosResult(plan, violations or ["the farm never ran"])
    trades = _trades(plan, outcome, observer, stats, truth, moments)
    quotes = _quotes(trades, plan, observer)
    balance, of_quotes = trades.balance(), quotes.balance()
    violations += observer.contradictions
    violations += balance.violations
    violations += of_quotes.violations
    violations += quotes.behind(observer.latest)
    violations += _needless_gaps(plan, outcome, observer)
    if not moments.jumps:  # else the bounds of a gap are those of no length of time
        violations += _too_long_gaps(observer)
    if outcome.stored is not None:
        violations += _stored_faults(outcome.stored, trades)
    if outcome.closing > 3 * DRAIN + 1:
        violations.append(f"the end took {outcome.closing:.1f} s")
    return ChaosResult(
        plan,
        violations,
        balance,
        of_quotes,
        observer.compared,
        observer.oldest,
        outcome.recovered,
        outcome.closing,
        outcome.hits,
    )


def _trades(
    plan: ChaosPlan,
    outcome: Outcome,
    observer: Observer,
    stats: FarmStats,
    truth: Truth,
    moments: Moments,
) -> Account:
    feeds = {symbol: plan.trade_feeds(symbol) for symbol in plan.symbols}
    claims = _claims(stats)
    return Account(
        truth,
        observer.trades,
        observer.gaps,
        feeds,
        unknown={
            symbol
            for symbol in plan.symbols
            if all(claims.get(feed, "unknown") == "unknown" for feed in feeds[symbol])
        },
        eaten=outcome.eaten,
        moments=moments.of,
        slack=slack(plan.script),
        until=outcome.until,
        since=_since(feeds, observer),
        complete={
            symbol
            for symbol in plan.symbols
            if any(claims.get(feed) == "complete" for feed in feeds[symbol])
        },
        own=observer.own,
    )


def _quotes(trades: Account, plan: ChaosPlan, observer: Observer) -> Account:
    feeds = {symbol: {plan.quote_feed(symbol)} for symbol in plan.symbols}
    return attrs.evolve(
        trades,
        delivered=observer.quotes,
        feeds=feeds,
        unknown=set(plan.symbols),  # ids of quotes say nothing of how many there were
        since=_since(feeds, observer),
        complete=(),
        kind=Quote,
    )


def _claims(stats: FarmStats) -> dict[str, str]:
    """What farm says of the completeness of each feed of which it says anything."""
    return {
        feed.feed: feed.continuity.completeness
        for feed in stats.feeds
        if feed.continuity is not None
    }


def _since(feeds: dict[Symbol, set[str]], observer: Observer) -> dict[Symbol, float]:
    """From when on each symbol's events were promised."""
    promised = observer.promised
    return {
        symbol: min(promised[feed] for feed in names if feed in promised)
        for symbol, names in feeds.items()
        if names & promised.keys()
    }


def _needless_gaps(plan: ChaosPlan, outcome: Outcome, observer: Observer) -> list[str]:
    """Where nothing went wrong nothing was lost, but to a reader who was too slow."""
    if outcome.hits or plan.crashes:
        return []
    gaps = [gap for gap in observer.gaps if gap.edge not in observer.own]
    if not gaps:
        return []
    named = ", ".join(f"{gap.feed} {gap.cause.value}" for gap in gaps[:MOST_LISTED])
    return [f"nothing went wrong, and {len(gaps)} gaps were told: {named}"]


def _too_long_gaps(observer: Observer) -> list[str]:
    """Gaps name the last that came before a loss and the first after it, or the first and the last
    that was lost: nothing came between."""
    times = {feed: sorted(received) for feed, received in observer.received.items()}
    found = []
    for gap in observer.gaps:
        if gap.start_time is None or gap.end_time is None:
            continue
        known = times.get(gap.feed, [])
        inside = bisect_left(known, gap.end_time) - bisect_right(known, gap.start_time)
        if inside > 0:
            seconds = (gap.end_time - gap.start_time) / 1e9
            what = f"{gap.feed}: a gap ({gap.cause.value}) of {seconds:.3f} s"
            found.append(f"{what} holds {inside} events that came meanwhile")
    return found[:MOST_LISTED]


def _stored_faults(stored: Stored, account: Account) -> list[str]:
    """What a user was told and the files have not, or twice."""
    found = []
    if lost := account.unstored(stored.trades, stored.gaps):
        found.append(f"{len(lost)} trades were delivered and not stored: {lost[:MOST_LISTED]}")
    if twice := len(stored.trades) - len(set(stored.trades)):
        found.append(f"{twice} trades were stored twice")
    return found
