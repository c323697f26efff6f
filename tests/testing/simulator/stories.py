"""Simulated markets as the tests read them: by stream, and with json alone."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from typing import Any, TypeAlias

from farm.testing import MarketSimulator, Push
from farm.types import Exchange, Market

Story: TypeAlias = dict[str, list[Any]]
"""Payloads by the name of their stream."""


def read(pushes: list[Push]) -> Story:
    found: Story = defaultdict(list)
    for push in pushes:
        found[push.stream].append(json.loads(push.text, parse_float=Decimal))
    return dict(found)


def tell(
    exchange: Exchange, market: Market, symbols: list[str], seconds: float = 130, **options: Any
) -> list[Push]:
    return list(
        MarketSimulator(exchange, market, symbols, seed=5, rate=60, seconds=seconds, **options)
    )
