"""Binance's trades: single fills, aggregates and, on futures, liquidations.

A futures trade id may be spent on a placeholder that was no trade (``X`` is ``NA``), or on a print
far off the market by the insurance fund; neither enters aggregates or candles.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import groupby

import attrs

from farm.testing.simulator.binance.speech import Voice
from farm.testing.simulator.candles import SECOND
from farm.testing.simulator.ledger import Ledger
from farm.testing.simulator.matching import Fill, MatchResult
from farm.testing.simulator.writer import MILLISECOND, Part, Timer
from farm.testing.source import Push

__all__ = ["FuturesTrades", "SpotTrades"]

_BUNDLE = 100 * MILLISECOND

# How often a taker order is followed by a placeholder, an insurance fund's print, or was a
# liquidation; and how often a fill is hidden liquidity, which ``nq`` leaves out.
_PLACEHOLDERS = 0.04
_INSURANCE = 0.01
_LIQUIDATIONS = 0.05
_HIDDEN = 0.05


class SpotTrades(Part):
    """Spot: an aggregate is one taker order at one price, told at once."""

    timers: Sequence[Timer] = ()

    def __init__(self, voice: Voice, ledger: Ledger, rng: random.Random) -> None:
        self._voice = voice
        self._ledger = ledger
        self._trade_id = rng.randrange(1_000_000_000, 6_000_000_000)
        self._agg_id = self._trade_id // 2

    def opening(self, now: int) -> Iterator[Push]:
        self._ledger.open(now)
        yield from super().opening(now)

    def on_order(self, now: int, result: MatchResult) -> Iterator[Push]:
        voice, ms = self._voice, now // MILLISECOND
        maker = "false" if result.taker_buys else "true"
        ends = f'"T":{ms},"m":{maker},"M":true}}'
        for ticks, group in groupby(result.fills, key=lambda fill: fill.price):
            fills, price = list(group), voice.spelling.price(ticks)
            first_id = self._trade_id + 1
            for fill in fills:
                self._trade_id += 1
                self._ledger.add(fill, self._trade_id, result.taker_buys)
                yield Push(
                    now,
                    voice.stream("trade"),
                    f'{{"e":"trade","E":{ms},{voice.named},"t":{self._trade_id},'
                    f'"p":"{price}","q":"{voice.spelling.size(fill.lots)}",{ends}',
                )
            self._agg_id += 1
            total = voice.spelling.size(sum(fill.lots for fill in fills))
            yield Push(
                now,
                voice.stream("aggTrade"),
                f'{{"e":"aggTrade","E":{ms},{voice.named},"a":{self._agg_id},'
                f'"p":"{price}","q":"{total}","f":{first_id},"l":{self._trade_id},{ends}',
            )


@attrs.define(eq=False)
class _Bundle:
    """Fills of one price and side within 100 ms; ``net`` leaves out hidden liquidity."""

    price: int
    taker_buys: bool
    ms: int
    first_id: int
    last_id: int
    lots: int = 0
    net: int = 0


class FuturesTrades(Part):
    """USD-M and COIN-M: an aggregate bundles up to 100 ms, a liquidation is told once a second."""

    def __init__(self, voice: Voice, ledger: Ledger, rng: random.Random) -> None:
        self._voice = voice
        self._ledger = ledger
        self._rng = rng
        self._trade_id = rng.randrange(1_000_000_000, 9_000_000_000)
        self._agg_id = self._trade_id // 3
        self._bundle: _Bundle | None = None
        self._liquidation: tuple[int, MatchResult] | None = None
        self._trade_ends = voice.universe + "}" if voice.speech.trade_universe else "}"
        self.timers = (Timer(_BUNDLE, self._say_bundle), Timer(SECOND, self._say_liquidation))

    def opening(self, now: int) -> Iterator[Push]:
        self._ledger.open(now)
        yield from super().opening(now)

    def on_order(self, now: int, result: MatchResult) -> Iterator[Push]:
        if not result.fills:
            return
        ms = now // MILLISECOND
        for fill in result.fills:
            price, size = self._voice.spelling.price(fill.price), self._voice.spelling.size
            yield self._trade(now, price, size(fill.lots), "MARKET", result.taker_buys)
            self._ledger.add(fill, self._trade_id, result.taker_buys)
            yield from self._bundled(now, ms, fill, result.taker_buys)
        if self._rng.random() < _PLACEHOLDERS:
            yield self._trade(now, "0", "0", "NA", taker_buys=False)
        if self._rng.random() < _INSURANCE:
            far = self._voice.spelling.price(result.fills[-1].price * 4 // 5)
            size_text = self._voice.spelling.size(result.fills[-1].lots)
            yield self._trade(now, far, size_text, "INSURANCE_FUND", result.taker_buys)
        if self._rng.random() < _LIQUIDATIONS:
            self._liquidation = ms, result

    def _trade(self, now: int, price: str, size: str, kind: str, taker_buys: bool) -> Push:
        self._trade_id += 1
        ms = now // MILLISECOND
        return Push(
            now,
            self._voice.stream("trade"),
            f'{{"e":"trade","E":{ms},"T":{ms},"s":"{self._voice.instrument.symbol}",'
            f'"t":{self._trade_id},"p":"{price}","q":"{size}","X":"{kind}",'
            f'"m":{_maker(taker_buys)}{self._trade_ends}',
        )

    # --- aggregates ------------------------------------------------------------------------------

    def _bundled(self, now: int, ms: int, fill: Fill, taker_buys: bool) -> Iterator[Push]:
        """Adds a fill to the bundle; one of another price or side ends it."""
        bundle = self._bundle
        if bundle is None or (bundle.price, bundle.taker_buys) != (fill.price, taker_buys):
            yield from self._say_bundle(now)
            bundle = self._bundle = _Bundle(
                fill.price, taker_buys, ms, self._trade_id, self._trade_id
            )
        bundle.last_id = self._trade_id
        bundle.lots += fill.lots
        if self._rng.random() >= _HIDDEN:
            bundle.net += fill.lots

    def _say_bundle(self, now: int) -> Iterator[Push]:
        bundle, self._bundle = self._bundle, None
        if bundle is None:
            return
        self._agg_id += 1
        voice = self._voice
        net = f'"nq":"{voice.spelling.size(bundle.net)}",' if voice.speech.net_quantity else ""
        yield Push(
            now,
            voice.stream("aggTrade"),
            f'{{"e":"aggTrade","E":{now // MILLISECOND},"a":{self._agg_id},'
            f'"s":"{voice.instrument.symbol}","p":"{voice.spelling.price(bundle.price)}",'
            f'"q":"{voice.spelling.size(bundle.lots)}",{net}"f":{bundle.first_id},'
            f'"l":{bundle.last_id},"T":{bundle.ms},"m":{_maker(bundle.taker_buys)}'
            f"{voice.universe}}}",
        )

    # --- liquidations ----------------------------------------------------------------------------

    def _say_liquidation(self, now: int) -> Iterator[Push]:
        """The latest of the last second; the others are never told."""
        if self._liquidation is None:
            return
        (ms, result), self._liquidation = self._liquidation, None
        voice, spelling = self._voice, self._voice.spelling
        lots = sum(fill.lots for fill in result.fills)
        average = round(sum(fill.price * fill.lots for fill in result.fills) / lots)
        worst = average * 101 // 100 if result.taker_buys else average * 99 // 100
        size = spelling.size(lots)
        yield Push(
            now,
            voice.stream("forceOrder"),
            f'{{"e":"forceOrder","E":{now // MILLISECOND},"o":{{'
            f'"s":"{voice.instrument.symbol}","S":"{"BUY" if result.taker_buys else "SELL"}",'
            f'"o":"LIMIT","f":"IOC","q":"{size}","p":"{spelling.price(worst)}",'
            f'"ap":"{spelling.price(average)}","X":"FILLED",'
            f'"l":"{spelling.size(result.fills[-1].lots)}","z":"{size}","T":{ms},'
            f'"ps":"{voice.instrument.contract.pair}"{voice.universe}}}}}',
        )


def _maker(taker_buys: bool) -> str:
    """``m``: whether the buyer was the maker."""
    return "false" if taker_buys else "true"
