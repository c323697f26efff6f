"""Venue decimals from integers: ``8123`` with two decimals is ``81.23``."""

from __future__ import annotations

__all__ = ["fixed", "signed", "trimmed"]


def fixed(units: int, decimals: int) -> str:
    """With every decimal: ``81.20``. Units are never negative here."""
    if decimals == 0:
        return str(units)
    whole, part = divmod(units, 10**decimals)
    return f"{whole}.{part:0{decimals}d}"


def signed(units: int, decimals: int) -> str:
    """As :func:`fixed`, of numbers below zero too: ``-0.05``."""
    return ("-" if units < 0 else "") + fixed(abs(units), decimals)


def trimmed(units: int, decimals: int) -> str:
    """Without trailing zeros: ``81.2``, ``81``, ``0``."""
    text = fixed(units, decimals)
    return text.rstrip("0").rstrip(".") if decimals else text
