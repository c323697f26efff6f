"""Trade continuity: what the ids of trades prove, and the record of what they show to be missing.

The rules (measured on recordings of 2024, but where a document says them):

* Binance spot ``@trade``: ``t`` steps by one for each symbol, through reconnects and midnights
  (34,419 of 34,419 trades).
* Binance futures ``@trade``: the same, where placeholders are counted (``X: NA``, ids that no
  published fill spends: issues 263 of hftbacktest and 2588 of nautilus_trader); they come as
  :class:`~farm.entities.SpentIds`.
* Binance ``@aggTrade``: ``a`` steps by one. ``f`` is mostly the ``l`` before and one more; on
  futures it may rightly skip ids that are never aggregated (placeholders, the insurance fund's,
  auto-deleveraging), so a mismatch is counted and is no loss.
* Bybit: ids of derivatives are UUIDs, those of spot rise by any number, and ``seq`` is that of the
  whole engine. Nothing can be proven, so nothing is ever called complete.

What comes twice is passed on once: where ids step the chain tells, elsewhere the ids of the latest
trades are remembered.

Ids outlive connections, so they tell what a disconnect cost: its gap is held back until the next
event of its feed, and then either names the ids that are missing or, if none is, is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import attrs

from farm.batch import Batch
from farm.bundle import Bundle
from farm.entities import AggTrade, Gap, SpentIds, Trade, feed_of
from farm.exchanges.decoded import Decoded
from farm.exchanges.id_chain import ContinuityCounts, IdChain, starts_over
from farm.exchanges.next_ids import take_adjoining, take_new, take_next
from farm.exchanges.repeats import RecentIds
from farm.exchanges.streams import Stream
from farm.types import DataType, GapCause, NumberMode, Symbol

__all__ = ["ContinuityCounts", "TradeContinuity"]

_KINDS: dict[DataType, type[Any]] = {DataType.TRADE: Trade, DataType.AGG_TRADE: AggTrade}
_SPECS = frozenset(kind.value for kind in _KINDS)
_WATCHED = frozenset({Trade, AggTrade, SpentIds, Gap})
_LOST_WITHIN = (GapCause.OVERFLOW, GapCause.QUARANTINE)
MAX_CONNECTIONS = 32
"""Connections whose last bundle is remembered for the case that it is delivered again."""


class TradeContinuity:
    """Checks the ids of all trade feeds of one line, after its lanes were merged.

    `streams` names what the line carries; it is asked again where an unknown feed turns up. Within
    one bundle ids are taken in their own order: what came in one read is not missing. `numbers` is
    the mode of a bundle that has nothing but a gap found here.
    """

    def __init__(
        self,
        streams: Callable[[], Iterable[Stream]],
        numbers: NumberMode = NumberMode.FLOAT,
    ) -> None:
        self._streams = streams
        self._numbers = numbers
        self._by_feed: dict[str, IdChain] = {}
        # By symbol, where ids prove something. A market's streams of one kind prove the same.
        self._trades: dict[Symbol, IdChain] = {}
        self._agg_trades: dict[Symbol, IdChain] = {}
        self._recent = RecentIds()
        self._asked = False  # whether `streams` was asked for this bundle already
        self._found: list[Gap] = []
        self._repeats: list[Any] = []  # events of this bundle that were passed on before
        self._begun: tuple[str, int] | None = None  # the bundle that is being checked
        self._outcomes: dict[str, Bundle] = {}
        self._finished = False
        self._learn()

    def take(self, bundle: Bundle) -> Bundle:
        """Check the bundle's ids: the bundle itself, or one whose gaps are what is now known.

        A bundle that is delivered again gives what it gave the first time.
        """
        if bundle.dropped:
            return self._take(bundle)
        for batch in bundle.batches:
            if batch.kind in _WATCHED:
                return self._take(bundle)
        return bundle

    def note(self, gaps: Sequence[Gap]) -> list[Gap]:
        """Take gaps that come in no bundle and wait for nothing; those that are passed on."""
        before, self._finished, self._asked = self._finished, True, False
        passed = self._pass(gaps)
        self._finished = before
        return list(gaps) if passed is None else passed

    def lose(self, gaps: Iterable[Gap]) -> None:
        """What was checked here already is lost after all, as these gaps say."""
        for gap in gaps:
            chain = self._by_feed.get(gap.feed)
            if chain is not None and chain.proven and gap.cause in _LOST_WITHIN:
                chain.lose()

    def forget_deliveries(self) -> None:
        """No bundle that was taken will be delivered again."""
        self._outcomes.clear()

    def finish(self) -> list[Gap]:
        """The gaps still held back, as they are: no event follows that could settle them. What a
        last bundle still tells (``final``) is passed on as it comes."""
        self._finished = True
        held = [chain.let_go() for chain in self._by_feed.values()]
        return [gap for gap in held if gap is not None]

    def counts(self, feed: str) -> ContinuityCounts | None:
        """What the ids of a feed proved; None where it is no feed of trades on this line."""
        if feed not in self._by_feed and feed.rpartition("/")[2] in _SPECS:
            self._learn()  # for others it would look at all streams again and again
        chain = self._by_feed.get(feed)
        return chain.counts() if chain is not None else None

    # ----------------------------------------------------------------------------------- checking
    def _take(self, bundle: Bundle) -> Bundle:
        connection = bundle.origin.connection
        known = self._outcomes.get(connection)
        if known is not None and known.serial == bundle.serial:
            return known
        self._asked = False
        self._finished = self._finished and bundle.final
        self._repeats = []
        again = self._begun == (connection, bundle.serial)
        self._begun = connection, bundle.serial
        gaps = self._check(bundle)
        if again:  # what an attempt that crashed had checked was passed on by nobody
            self._repeats = []
        if bundle.dropped:
            self._forget(bundle.dropped)
        # What an attempt cut short by a crash found is in `_found` still: it can't be found again.
        outcome = self._without_repeats(bundle) if self._repeats else bundle
        if gaps is not None or self._found:
            outcome = self._with_gaps(outcome, gaps)
        if known is None and len(self._outcomes) >= MAX_CONNECTIONS:
            del self._outcomes[next(iter(self._outcomes))]
        self._outcomes[connection] = outcome
        self._found = []
        self._begun = None
        return outcome

    def _check(self, bundle: Bundle) -> list[Gap] | None:
        """Check what is in a bundle, gaps first; those of its gaps that go on, None if all do."""
        trades: Batch[Trade] | None = None
        spent: Sequence[SpentIds] = ()
        agg_trades: Batch[AggTrade] | None = None
        passed = None
        for batch in bundle.batches:
            kind = batch.kind
            if kind not in _WATCHED:
                continue
            if kind is Trade:
                trades = batch
            elif kind is AggTrade:
                agg_trades = batch
            elif kind is SpentIds:
                spent = batch.rows
            else:
                passed = self._pass(batch.rows)
        if trades is not None and not self._by_feed:
            self._learn_once()
        if spent:
            self._in_order([*(trades or ()), *spent])
        elif trades is not None and not self._trades:
            self._check_recent(trades)
        elif trades is not None:
            self._check_trades(trades)
        if agg_trades is not None:
            self._check_agg_trades(agg_trades)
        return passed

    def _check_recent(self, trades: Batch[Trade]) -> None:
        source = trades.source
        if isinstance(source, Decoded) and take_new(source, self._recent):
            return
        self._repeats += self._recent.repeats(trades.rows)
        for row in self._repeats:
            chain = self._by_feed.get(feed_of(row))
            if chain is not None:  # trades of options are one feed for all of a coin
                chain.repeats += 1

    def _check_trades(self, trades: Batch[Trade]) -> None:
        source = trades.source
        if isinstance(source, Decoded) and take_next(source, self._trades):
            return
        get, rest = self._trades.get, iter(trades.rows)
        for row in rest:
            chain = get(row.symbol)
            if chain is None or (number := int(row.id)) != chain.expected:
                self._in_order([row, *rest])
                return
            chain.expected = number + 1
            chain.latest = row

    def _check_agg_trades(self, trades: Batch[AggTrade]) -> None:
        source = trades.source
        if isinstance(source, Decoded) and take_next(source, self._agg_trades):
            take_adjoining(source, self._agg_trades)
            return
        get, rest = self._agg_trades.get, iter(trades.rows)
        for row in rest:
            chain = get(row.symbol)
            if chain is None or (number := int(row.id)) != chain.expected:
                self._in_order([row, *rest])
                return
            chain.expected = number + 1
            chain.latest = row
            chain.unadjoined += row.first_trade_id != chain.next_trade
            chain.next_trade = row.last_trade_id + 1

    def _in_order(self, rows: Iterable[Any]) -> None:
        """Take events, and ids spent without one, in the order of their ids; what was counted anew
        comes after what was not."""
        spans = []
        tops: dict[IdChain, tuple[int, int, Any]] = {}  # count of restarts, greatest id, its event
        for row in rows:
            chains = self._agg_trades if type(row) is AggTrade else self._trades
            if row.symbol not in chains:
                self._learn_once()
            chain = chains.get(row.symbol)
            if chain is None:
                continue  # nothing is proven here, or it is collected no longer
            first, last = _span(row)
            restarts, top, latest = tops.get(chain, (0, last, row))
            if starts_over(top, latest, last, row):
                restarts, top, latest = restarts + 1, last, row
            elif last >= top:
                top, latest = last, row
            tops[chain] = restarts, top, latest
            spans.append((restarts, first, last, row, chain))
        for _, first, last, row, chain in sorted(spans, key=itemgetter(0, 1)):
            repeats = chain.repeats
            gap = chain.step(first, last, row)
            if chain.repeats > repeats:
                self._repeats.append(row)
            if gap is not None:
                self._found.append(gap)

    def _pass(self, gaps: Sequence[Gap]) -> list[Gap] | None:
        """Take gaps found upstream; those that need not wait for what ids show, None if all."""
        passed = []
        for gap in gaps:
            if gap.feed not in self._by_feed:
                self._learn_once()
            chain = self._by_feed.get(gap.feed)
            waits = (
                chain is not None
                and chain.proven
                and gap.first_id is None
                and chain.take_gap(gap, may_hold=not self._finished)
            )
            if not waits:
                passed.append(gap)
        return passed if len(passed) < len(gaps) else None

    # ------------------------------------------------------------------------------------ helpers
    def _learn_once(self) -> None:
        if not self._asked:
            self._asked = True
            self._learn()

    def _learn(self) -> None:
        for stream in self._streams():
            if stream.data_type in _KINDS and stream.feed not in self._by_feed:
                chain = self._by_feed[stream.feed] = IdChain(stream)
                if chain.proven:
                    self._chains(stream)[stream.symbol] = chain

    def _chains(self, stream: Stream) -> dict[Symbol, IdChain]:
        return self._trades if stream.data_type is DataType.TRADE else self._agg_trades

    def _forget(self, feeds: Iterable[str]) -> None:
        """These are collected no longer; what an outage cost them can't be known any more."""
        for feed in feeds:
            chain = self._by_feed.pop(feed, None)
            if chain is None:
                continue
            self._chains(chain.stream).pop(chain.stream.symbol, None)
            self._recent.forget(chain.stream.symbol)
            gap = chain.let_go()
            if gap is not None:
                self._found.append(gap)

    def _without_repeats(self, bundle: Bundle) -> Bundle:
        repeated = set(map(id, self._repeats))
        batches = []
        for batch in bundle.batches:
            if any(id(row) in repeated for row in batch.rows):
                batch = _some_rows(batch, lambda row: id(row) not in repeated)
            if len(batch):
                batches.append(batch)
        return attrs.evolve(bundle, batches=batches)

    def _with_gaps(self, bundle: Bundle, passed: list[Gap] | None) -> Bundle:
        """The bundle with those of its gaps, None for all, and with what was found; what was given
        stays as it is."""
        if passed is None:
            passed = [gap for batch in bundle.batches if batch.kind is Gap for gap in batch.rows]
        gaps = passed + self._found
        batches = [batch for batch in bundle.batches if batch.kind is not Gap]
        if gaps:
            rows = [gap if gap.row == n else attrs.evolve(gap, row=n) for n, gap in enumerate(gaps)]
            origins = [(bundle.origin, len(rows))]
            numbers = bundle.batches[0].numbers if bundle.batches else self._numbers
            batches.append(Batch(Gap, rows=rows, origins=origins, numbers=numbers))
        return attrs.evolve(bundle, batches=batches)


def _some_rows(batch: Batch[Any], keep: Callable[[Any], bool]) -> Batch[Any]:
    origins = (origin for origin, count in batch.origins for _ in range(count))
    kept = [(row, origin) for row, origin in zip(batch.rows, origins, strict=True) if keep(row)]
    runs = groupby(origin for _, origin in kept)
    return Batch(
        batch.kind,
        rows=[row for row, _ in kept],
        origins=[(origin, sum(1 for _ in run)) for origin, run in runs],
        numbers=batch.numbers,
    )


def _span(row: Any) -> tuple[int, int]:
    """First and last id of an event, or of ids spent without one."""
    if type(row) is SpentIds:
        return row.first_id, row.last_id
    number = int(row.id)
    return number, number
