"""What a fake exchange lists, and how that changes while it runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from farm.testing.simulator.instruments import Instrument, instrument, usual_symbols
from farm.testing.source import Source, symbols_of
from farm.types import Exchange, Market

__all__ = ["Listing"]


class Listing:
    """The symbols of one market and their instruments.

    ``symbols``: what is listed, None for anything. ``hidden``: symbols, and names of continuous
    contracts, of which the source may tell but nobody hears: not listed yet, or no longer.
    ``statuses``: those delisted that the venue still names, under another status. ``added``: those
    listed since the opening.

    Args:
        symbols: what is listed; None asks the source, and where that doesn't say, everything is.
    """

    def __init__(
        self, exchange: Exchange, market: Market, source: Source, symbols: Collection[str] | None
    ) -> None:
        self._exchange = exchange
        self._market = market
        told: Sequence[Instrument] = getattr(source, "instruments", ())
        self._instruments = {item.symbol: item for item in told}
        self._sources = list(self._instruments)
        listed = symbols_of(source) if symbols is None else symbols
        self._listed = None if listed is None else dict.fromkeys(listed)
        self.hidden: set[str] = set()
        self.statuses: dict[str, str] = {}
        self.added: dict[str, None] = {}
        for name in self._sources:
            if not self.trades(name):
                self.hidden |= self._names(name)

    @property
    def symbols(self) -> Collection[str] | None:
        return None if self._listed is None else self._listed.keys()

    def trades(self, symbol: str) -> bool:
        """Whether a symbol is listed now."""
        if self._listed is None:
            return symbol not in self.hidden
        return symbol in self._listed

    def add(self, symbol: str) -> None:
        """Lists a symbol, or lists it again."""
        self.added[symbol] = None
        self.hidden -= self._names(symbol)
        self.statuses.pop(symbol, None)
        if self._listed is not None:
            self._listed[symbol] = None

    def remove(self, symbol: str, status: str | None) -> None:
        """Delists a symbol; with a `status` the venue's list still has it, under that."""
        self.added.pop(symbol, None)
        self.hidden |= self._names(symbol)
        if self._listed is not None:
            self._listed.pop(symbol, None)
        if status is not None:
            self.statuses[symbol] = status

    def instrument(self, symbol: str) -> Instrument:
        """The source's instrument, or else one that follows from the name."""
        if symbol not in self._instruments:
            self._instruments[symbol] = instrument(self._exchange, self._market, symbol)
        return self._instruments[symbol]

    def instruments(self, seen: Iterable[str]) -> list[Instrument]:
        """What the venue's list names: first what the source said, then the rest by name.

        `seen`: symbols that were met, which count where anything may be traded.
        """
        names = self._listed
        if names is None:
            usual = usual_symbols(self._exchange, self._market)
            names = dict.fromkeys([*usual, *seen, *self.added])
        named = {*names, *self._sources}
        chosen = [name for name in self._sources if self._is_named(name)]
        rest = sorted({name for name in named if self._is_named(name)} - set(chosen))
        extra = sorted(set(self.statuses) - set(chosen) - set(rest))
        return [self.instrument(name) for name in (*chosen, *rest, *extra)]

    def _names(self, symbol: str) -> set[str]:
        """What streams call a symbol: by itself, and by its pair and type of contract."""
        contract = self.instrument(symbol).contract
        return {symbol, f"{contract.pair}_{contract.kind}"} if contract.pair else {symbol}

    def _is_named(self, symbol: str) -> bool:
        return self.trades(symbol) or symbol in self.statuses
