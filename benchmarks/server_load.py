"""What the benchmarks' server sends: recorded Binance messages under other names and other ids.

Trades are numbered without a hole, each symbol's in a block of its own, so that continuity stays
quiet and a trade can be found again by its id. Prices, quantities, times and sides are recorded.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import cycle, islice
from typing import Any, TypeAlias

import attrs

from benchmarks.payloads import frames_of
from farm.types import Exchange, Market

__all__ = ["FIRST_ID", "Load", "Message", "greeting", "messages", "symbols_named", "volume_of"]

FIRST_ID = 3_735_683_259
"""The first id of the first symbol: one that was recorded."""

TEMPLATES = 2_000
"""Recorded messages of each kind, which are taken in turn."""

_Write: TypeAlias = Callable[[str, int], str]
"""Symbol and id to a payload in the venue's own order of fields."""


@attrs.frozen
class Load:
    """One run of the server.

    ``total`` messages in all; ``rate`` of them a second, each sent by itself, 0 being a flood.
    ``kinds`` are the venue's names of the streams of each symbol. ``tls``: ``plain`` is none,
    ``tls`` has records as long as they may be, ``records`` one for each message, as exchanges send
    them. With ``greet`` a stream's first message comes as soon as it is subscribed.
    """

    symbols: list[str]
    total: int
    rate: float = 0.0
    kinds: list[str] = attrs.field(factory=lambda: ["trade"])
    tls: str = "plain"
    greet: bool = False

    @property
    def of_each(self) -> int:
        """Messages of each stream, the greeting left out."""
        return self.total // (len(self.symbols) * len(self.kinds))

    def first_id(self, symbol: str) -> int:
        """The id of a symbol's first message; a greeting has the one before."""
        return FIRST_ID + self.symbols.index(symbol) * (self.of_each + self.greet) + self.greet


@attrs.frozen
class Message:
    """A payload as it is sent, and the id in it."""

    id: int
    payload: bytes


def symbols_named(number: int) -> list[str]:
    """So many symbols, at most 10,000, as long as BTCUSDT, which is the first."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    names = (f"{a}{b}{c}USDT" for a in "BCDEFGHIJKLMNOP" for b in letters for c in letters)
    return ["BTCUSDT", *islice((name for name in names if name != "BTCUSDT"), number - 1)]


def messages(load: Load, streams: Sequence[str], *, raw: bool) -> Iterator[Message]:
    """What is sent on a connection that has subscribed to `streams`, by their names on the wire.

    The streams take turns, in an order shuffled anew for each turn; the same load gives the same.
    `raw` is without the envelope that names the stream.
    """
    sources = {name: _numbered(load, name, raw) for name in streams}
    rng = random.Random(7)
    for _ in range(load.of_each):
        for name in rng.sample(streams, len(streams)):
            yield next(sources[name])


def greeting(load: Load, stream: str, *, raw: bool) -> Message:
    """What comes right after subscribing."""
    symbol, kind = _parted(stream)
    return _message(stream, symbol, load.first_id(symbol) - 1, _writers(kind)[-1], raw)


def volume_of(load: Load) -> float:
    """The quantities of all trades together, for a reader's sum to be held against."""
    quantities = (float(data["q"]) for data in cycle(_recorded("trade")))
    return sum(islice(quantities, load.of_each)) * len(load.symbols)


def _numbered(load: Load, stream: str, raw: bool) -> Iterator[Message]:
    symbol, kind = _parted(stream)
    for number, write in enumerate(cycle(_writers(kind)), load.first_id(symbol)):
        yield _message(stream, symbol, number, write, raw)


def _message(stream: str, symbol: str, number: int, write: _Write, raw: bool) -> Message:
    text = write(symbol, number)
    return Message(number, (text if raw else f'{{"stream":"{stream}","data":{text}}}').encode())


def _parted(stream: str) -> tuple[str, str]:
    symbol, _, kind = stream.partition("@")
    return symbol.upper(), kind


@cache
def _recorded(kind: str) -> list[dict[str, Any]]:
    marker = b"@bookTicker" if kind == "bookTicker" else b"@trade"
    frames, _ = frames_of(Exchange.BINANCE, Market.SPOT, marker, TEMPLATES)
    return [json.loads(frame)["data"] for frame in frames]


@cache
def _writers(kind: str) -> list[_Write]:
    """One for each recorded message. KeyError for a kind that is not served."""
    make = {"trade": _trade, "aggTrade": _agg_trade, "bookTicker": _quote}[kind]
    return [make(data) for data in _recorded(kind)]


def _trade(data: dict[str, Any]) -> _Write:
    head = f'{{"e":"trade","E":{data["E"]},"s":"'
    tail = f',"p":"{data["p"]}","q":"{data["q"]}","T":{data["T"]},"m":{_word(data["m"])},"M":true}}'
    return lambda symbol, number: f'{head}{symbol}","t":{number}{tail}'


def _agg_trade(data: dict[str, Any]) -> _Write:
    """A fill as an aggregate of itself: for peers whose trades are Binance's aggregates."""
    head = f'{{"e":"aggTrade","E":{data["E"]},"s":"'
    middle = f',"p":"{data["p"]}","q":"{data["q"]}","f":'
    tail = f',"T":{data["T"]},"m":{_word(data["m"])},"M":true}}'
    return lambda symbol, number: f'{head}{symbol}","a":{number}{middle}{number},"l":{number}{tail}'


def _quote(data: dict[str, Any]) -> _Write:
    tail = f'","b":"{data["b"]}","B":"{data["B"]}","a":"{data["a"]}","A":"{data["A"]}"}}'
    return lambda symbol, number: f'{{"u":{number},"s":"{symbol}{tail}'


def _word(flag: bool) -> str:
    return "true" if flag else "false"
