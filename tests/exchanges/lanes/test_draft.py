"""A bundle made of another: what is unchanged is shared, and what came in stays as it was."""

from __future__ import annotations

import attrs

from farm.batch import Origin
from farm.bundle import Bundle
from farm.entities import Gap, SpentIds, Trade
from farm.exchanges.lanes.coverage import Lane
from farm.exchanges.lanes.draft import Draft, rows_by_kind
from farm.exchanges.lanes.tracks import Kept
from farm.types import Exchange, Market, NumberMode
from tests.exchanges.trading import BINANCE, Line, outage, spent, streams_of, trade

(TRADES,) = streams_of(BINANCE, Market.SPOT, "trade")
OTHER = Origin(Exchange.BINANCE, Market.SPOT, "other", 3)


def test_a_bundle_of_which_everything_passes_is_itself() -> None:
    gap = outage(TRADES, 1, 2)
    bundle = Line().bundle(trade(1), trade(2), gap)
    draft = Draft(bundle, NumberMode.FLOAT)
    draft.part(Trade).rows.extend(bundle.batches[0].rows)
    draft.gaps.append(gap)
    assert draft.finish(None, ()) is bundle


def test_what_does_not_pass_is_left_out_and_every_other_field_is_kept() -> None:
    bundle = Line().bundle(trade(1), trade(2), outage(TRADES, 1, 2), asked=("x",), final=True)
    bundle.batches[0].nbytes = 100
    draft = Draft(bundle, NumberMode.DECIMAL)
    draft.part(Trade).rows.append(bundle.batches[0].rows[1])
    made = draft.finish(frozenset({"x"}), ("y",))
    (batch,) = made.batches
    assert (batch.rows, batch.nbytes, batch.numbers) == ([trade(2)], 50, NumberMode.DECIMAL)
    assert (made.down, made.dropped) == (frozenset({"x"}), ("y",))
    for name in {f.name for f in attrs.fields(Bundle)} - {"batches", "down", "dropped"}:
        assert getattr(made, name) == getattr(bundle, name)
    assert len(bundle.batches[0]) == 2


def test_what_passes_from_elsewhere_keeps_its_origin() -> None:
    line = Line()
    bundle = line.bundle(trade(2))
    lane = Lane("other", 1)
    draft = Draft(bundle, NumberMode.FLOAT)
    draft.add([Kept(trade(1), lane, OTHER), Kept(spent(9, 9), lane, OTHER)])
    draft.part(Trade).rows.append(trade(2))
    draft.add([Kept(trade(3), lane, line.origin)])
    trades, others = draft.finish(None, ()).batches
    assert trades.origins == [(OTHER, 1), (line.origin, 2)]
    assert (others.kind, others.origins) == (SpentIds, [(OTHER, 1)])
    assert lane.firsts == 3


def test_gaps_are_numbered_and_not_changed_in_place() -> None:
    gap = outage(TRADES, 1, 2)
    draft = Draft(Line().bundle(), NumberMode.FLOAT)
    draft.gaps += [gap, gap]
    (batch,) = draft.finish(None, ()).batches
    assert (batch.kind, [row.row for row in batch.rows], gap.row) == (Gap, [0, 1], 0)


def test_an_empty_batch_stays_one() -> None:
    bundle = Line().bundle(trade(1))
    bundle.batches[0] = bundle.batches[0][1:]
    assert Draft(bundle, NumberMode.FLOAT).finish(None, ()) is bundle


def test_trades_and_spent_ids_come_in_the_order_of_their_frames() -> None:
    rows = [trade(1, ordinal=1), trade(4, ordinal=4), outage(TRADES, 1, 2)]
    assert [kind for kind, _ in rows_by_kind(Line().bundle(*rows))] == [Trade, Gap]
    ids = attrs.evolve(spent(2, 3), ordinal=2)
    parts = rows_by_kind(Line().bundle(*rows, ids))
    assert [kind for kind, _ in parts] == [Gap, Trade, SpentIds, Trade]
    assert [len(rows) for _, rows in parts] == [1, 1, 1, 1]
