"""How Binance writes numbers: eight decimals on spot, those of tick and lot on futures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from farm.testing.simulator.decimals import signed
from farm.testing.simulator.instruments import Instrument

__all__ = ["Spelling"]


class Spelling:
    """The numbers of one instrument as texts. ``decimals``: of every number, None for its own."""

    def __init__(self, instrument: Instrument, decimals: int | None = None) -> None:
        self._price = _Scale(instrument.price_step, instrument.price_decimals, decimals)
        self._size = _Scale(instrument.size_step, instrument.size_decimals, decimals)
        self._worth = _Scale(1, instrument.worth_decimals, decimals)

    def price(self, ticks: int) -> str:
        """Of a change of price too, which may be below zero."""
        return self._price.text(ticks)

    def size(self, lots: int) -> str:
        return self._size.text(lots)

    def turnover(self, worth: int) -> str:
        """Units of :attr:`Instrument.worth_decimals <Instrument>`."""
        return self._worth.text(worth)

    def levels(self, prices: Iterable[int], totals: Mapping[int, int]) -> str:
        """Levels as they stand between the brackets of a list; a level that is gone has size 0."""
        price, size = self._price.text, self._size.text
        return ",".join(f'["{price(level)}","{size(totals.get(level, 0))}"]' for level in prices)


class _Scale:
    def __init__(self, step: int, own: int, decimals: int | None) -> None:
        self._decimals = own if decimals is None else decimals
        self._units = step * 10 ** (self._decimals - own)

    def text(self, count: int) -> str:
        return signed(count * self._units, self._decimals)
