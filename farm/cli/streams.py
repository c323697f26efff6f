"""``farm streams``: what the markets offer."""

from __future__ import annotations

import json
from typing import Annotated

import attrs
from cyclopts import Parameter

from farm.cli.exits import usage
from farm.cli.options import AsJson, known_markets
from farm.exchanges.catalogue import describe_market
from farm.exchanges.registry import MARKETS
from farm.report import print_offers

__all__ = ["streams"]


def streams(
    *,
    exchange: Annotated[str | None, Parameter(help="Only this exchange.")] = None,
    market: Annotated[str | None, Parameter(help="Only this market.")] = None,
    as_json: AsJson = False,
) -> int:
    """Print what each market offers, its limits, and what can be proven about each stream."""
    offers = [
        describe_market(rules)
        for rules in MARKETS.values()
        if exchange in (None, rules.exchange.value) and market in (None, rules.market.value)
    ]
    if not offers:
        return usage(known_markets(exchange or "*", market or "*"))
    if as_json:
        print(json.dumps({"markets": [attrs.asdict(offer) for offer in offers]}, indent=2))
    else:
        print_offers(offers)
    return 0
