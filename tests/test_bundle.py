from __future__ import annotations

import attrs

from farm.batch import Batch, Origin
from farm.bundle import Bundle
from farm.types import Exchange, Market
from tests.test_batch import trade


def test_a_changed_bundle_leaves_the_given_one_as_it_was() -> None:
    """It may be redelivered, so stages make new ones."""
    origin = Origin(Exchange.BINANCE, Market.SPOT, "c", 1)
    bundle = Bundle(origin, 7, 5, [Batch.of([trade()])], nbytes=10)
    other = attrs.evolve(bundle, batches=[*bundle.batches, Batch.of([trade()])])
    assert (len(bundle.batches), len(other.batches)) == (1, 2)
    assert (other.serial, other.nbytes, other.ended) == (7, 10, None)
    assert bundle != other  # one is not another for holding the same
