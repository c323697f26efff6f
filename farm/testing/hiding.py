"""Pushes without what they tell of symbols that nobody may hear of."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import attrs

from farm.testing.names import stream_symbol, topic_symbol
from farm.testing.source import Push

__all__ = ["shown_on_binance", "shown_on_bybit"]


def shown_on_binance(push: Push, hidden: Collection[str]) -> Push | None:
    """What is left of a push, None for nothing."""
    if not push.stream.startswith("!"):
        return None if stream_symbol(push.stream) in hidden else push
    payload = json.loads(push.text)
    if isinstance(payload, list):
        rows = [row for row in payload if row["s"] not in hidden]
        if len(rows) == len(payload):
            return push
        return attrs.evolve(push, text=_dump(rows)) if rows else None
    row = payload["o"] if payload["e"] == "forceOrder" else payload
    return None if row["s"] in hidden else push


def shown_on_bybit(push: Push, hidden: Collection[str]) -> Push | None:
    """What is left of a push, None for nothing. Options trade in topics of their base coin."""
    if topic_symbol(push.stream) in hidden:
        return None
    if not push.stream.startswith("publicTrade."):
        return push
    message = json.loads(push.text)
    rows = [row for row in message["data"] if row["s"] not in hidden]
    if len(rows) == len(message["data"]):
        return push
    return attrs.evolve(push, text=_dump({**message, "data": rows})) if rows else None


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
