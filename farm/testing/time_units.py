"""Spot's ``timeUnit=MICROSECOND``: every time of a payload in microseconds, ids untouched."""

from __future__ import annotations

import re

__all__ = ["in_microseconds"]

# Keys that hold a time in every payload, and t, which does in a candle and a reference price
# alone: elsewhere it numbers a trade.
_TIMES = re.compile(r'("[ETOC]":)(\d{13})(?!\d)')
_STARTS = re.compile(r'("k":\{"t":|^\{"e":"referencePrice".*?"t":)(\d{13})(?!\d)')
_CANDLE = '{"e":"kline"'
_CANDLE_END = re.compile(r'("T":)(\d{13})(?!\d)')


def in_microseconds(text: str, now: int) -> str:
    """The payload as a connection in microseconds gets it; `now`: its time in nanoseconds.

    What happened in the millisecond of `now` has its microsecond; other times end in 000, and the
    end of a candle in 999.
    """
    now_ms, now_us = now // 1_000_000, now // 1000

    def exact(match: re.Match[str]) -> str:
        ms = int(match[2])
        return f"{match[1]}{now_us if ms == now_ms else ms * 1000}"

    if text.startswith(_CANDLE):
        text = _CANDLE_END.sub(lambda match: f"{match[1]}{match[2]}999", text)
        text = _STARTS.sub(lambda match: f"{match[1]}{match[2]}000", text)
        return _TIMES.sub(exact, text)
    return _STARTS.sub(exact, _TIMES.sub(exact, text))
