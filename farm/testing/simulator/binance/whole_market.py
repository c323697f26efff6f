"""Binance's streams of the whole market, put together from those of its symbols.

On futures they carry the contracts of both universes, USD-M and COIN-M, whatever the host: a
simulated market has a stranger from the other one among its symbols, of whom these streams
alone tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import attrs

from farm.testing.names import stream_symbol
from farm.testing.simulator.candles import SECOND
from farm.testing.source import Push

__all__ = ["WholeMarket"]

_QUOTES_PERIOD = 5 * SECOND
_QUOTES = "bookTicker"


@attrs.define(eq=False)
class WholeMarket:
    """Passes pushes on in order, those of a stranger left out, and adds those of the market.

    ``streams``: kinds (``miniTicker``) and the market stream of each. One that is called ``@arr``
    holds in an array all rows of an instant, but ``!forceOrder@arr``, which passes each on as
    it is; ``!bookTicker`` tells every five seconds the latest of each symbol that changed.
    """

    streams: Mapping[str, str]
    strangers: frozenset[str] = frozenset()
    _rows: dict[str, list[str]] = attrs.Factory(dict)
    _quotes: dict[str, str] = attrs.Factory(dict)
    _quotes_due: int = 0

    def told(self, pushes: Iterable[Push]) -> Iterator[Push]:
        now = 0
        for push in pushes:
            if push.time != now:
                yield from self._arrays(now)
                yield from self._quotes_until(push.time)
                now = push.time
            if stream_symbol(push.stream) not in self.strangers and not self._is_strange(push):
                yield push
            if not push.silent:
                yield from self._gather(push)
        yield from self._arrays(now)

    def _is_strange(self, push: Push) -> bool:
        """An answer to a request about a stranger."""
        return push.stream.startswith("/") and push.stream.partition("symbol=")[2] in self.strangers

    def _gather(self, push: Push) -> Iterator[Push]:
        kind = push.stream.partition("@")[2]
        stream = self.streams.get(kind)
        if stream is None or push.stream.startswith("!"):
            return
        if kind == _QUOTES:
            self._quotes[push.stream] = push.text
        elif push.text.startswith('{"e":"forceOrder"'):
            yield Push(push.time, stream, push.text)
        else:
            self._rows.setdefault(stream, []).append(push.text)

    def _arrays(self, now: int) -> Iterator[Push]:
        rows, self._rows = self._rows, {}
        for stream, texts in rows.items():
            yield Push(now, stream, f"[{','.join(texts)}]")

    def _quotes_until(self, now: int) -> Iterator[Push]:
        if now < self._quotes_due:
            return
        if self._quotes_due:
            for text in self._quotes.values():
                yield Push(self._quotes_due, self.streams[_QUOTES], text)
            self._quotes.clear()
        self._quotes_due = now - now % _QUOTES_PERIOD + _QUOTES_PERIOD
