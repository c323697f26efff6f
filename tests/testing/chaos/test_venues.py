"""What faults swallowed whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from farm.testing import Push
from farm.testing.chaos.truth import quote_id
from farm.testing.chaos.venues import eaten
from farm.testing.faults.kinds import Corrupt, Drop, Duplicate, Fault, NoData, Reset
from farm.testing.faults.log import FaultEvent

ROWS = [{"s": "BTC-C", "i": "a"}, {"s": "BTC-P", "i": "b"}]
TICKER = {"u": 7, "s": "BTCUSDT", "b": "1.5", "B": "2", "a": "3", "A": "4"}


def hit(fault: Fault, stream: str, **message: Any) -> FaultEvent:
    return FaultEvent(1.0, fault, "c1", stream, push=Push(0, stream, json.dumps(message)))


def test_nothing_is_left_of_trades_and_quotes_that_were_not_sent() -> None:
    drop, silence = Drop(0, "*"), NoData(0, "*", seconds=1)
    log = [
        hit(drop, "btcusdt@trade", s="BTCUSDT", t=5),
        hit(silence, "publicTrade.BTC", data=ROWS),
        hit(drop, "btcusdt@bookTicker", **TICKER),
        hit(drop, "btcusdt@depth@100ms", u=1),
        FaultEvent(1.0, Reset(0), "c1"),
    ]
    quote = quote_id(7, (1.5, 2), (3, 4))
    assert eaten(log) == {("BTCUSDT", "5"), ("BTC-C", "a"), ("BTC-P", "b"), ("BTCUSDT", quote)}


@pytest.mark.parametrize("fault", [Corrupt(0, "*", how="garbage"), Duplicate(0, "*")])
def test_of_what_was_spoilt_the_client_knows(fault: Fault) -> None:
    assert eaten([hit(fault, "btcusdt@trade", s="BTCUSDT", t=5)]) == set()
