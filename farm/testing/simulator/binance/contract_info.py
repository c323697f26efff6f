"""``!contractInfo``: the terms of a futures contract, told when it is listed or delisted."""

from __future__ import annotations

from farm.testing.simulator.contracts import PERPETUAL_DELIVERY
from farm.testing.simulator.instruments import Instrument
from farm.testing.simulator.writer import MILLISECOND

__all__ = ["ONBOARD", "contract_info_text"]

ONBOARD = 1_569_398_400_000
"""When everything was listed that a fake has traded since its opening, ms."""

_BRACKETS = '"bks":[{"bs":1,"bnf":0,"bnc":5000,"mmr":0.01,"cf":0,"mi":21,"ma":50}],'


def contract_info_text(
    item: Instrument, now: int, status: str, *, brackets: bool, onboard: int = ONBOARD
) -> str:
    """The payload at `now`, in nanoseconds. COIN-M contracts, which count dollars, name their
    pair; ``bks`` stands in it where leverage brackets changed."""
    inverse = bool(item.contract.size)
    pair = f'"ps":"{item.contract.pair}",' if inverse else ""
    return (
        f'{{"e":"contractInfo","E":{now // MILLISECOND},"s":"{item.symbol}",{pair}'
        f'"ct":"{item.contract.kind}","dt":{item.contract.delivery or PERPETUAL_DELIVERY},'
        f'"ot":{onboard},"cs":"{status}",{_BRACKETS if brackets else ""}'
        f'"st":{2 if inverse else 1}}}'
    )
