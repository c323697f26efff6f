"""Proof of life: when a stream counts as dead, and what is done about it.

An acknowledgement proves nothing: venues acknowledge streams that they never send (a wrong route, a
depth that does not exist). Quiet is not dead, either: an illiquid symbol may say nothing for long.
So each stream is judged by what may be expected of it, on the monotonic clock, at each tick:

1. *Promised*: the venue sends at least every so often (``Stream.every``). Silence of five times
   that, and of 15 s at least, is death.
2. *Active* (books, quotes): a first message within 60 s, and then none later than six times the
   longest pause so far (60 s at least; this bound only grows).
3. *Sparse* (trades, liquidations, and what only trades move: candles, tickers): may be silent for
   hours.

Past its bound (60 s for sparse ones) a stream is dead if a *witness* of its symbol goes on: trades
prove that books, quotes, candles and tickers must move, quotes that the book must, but not the
other way round. It is dead too if the venue says that it does not hold it. An active one is dead
if nothing at all comes on its connection, and so are many sparse ones if that lasts. Else its
symbol is quiet: where the venue can be asked what it holds, it is asked; where it can't, an active
stream is subscribed again, which brings a snapshot if it lives.

A dead stream is subscribed again first. If it stays silent its connection is replaced: at most
three times an hour, and for the same stream at growing intervals until it delivers; for a promised
one only where no other promise is kept on that connection, for else its symbol is halted. In
between it is left as it is, and says so.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Mapping

import attrs

from farm.exchanges.session import StreamState, StreamStatus
from farm.exchanges.streams import REST_ROUTE, Stream
from farm.types import DataType, Symbol

__all__ = ["FIRST_FRAME", "Judgement", "Liveness"]

FIRST_FRAME = 60.0
"""Seconds after its acknowledgement within which an active stream must deliver."""

PROMISED_FLOOR = 15.0
PROMISED_FACTOR = 5.0
LEARNED_FACTOR = 6.0

WITNESS_FRAMES = 10
"""Messages of its witnesses after which a stream must have one."""

LIST_EVERY = 300.0
"""Seconds after which the venue is asked again what it holds, while sparse streams are silent."""

LIST_PAUSE = 60.0
"""Seconds between two such requests at the least."""

MUTE = 900.0
MANY = 20
"""So many sparse streams, none of which says anything in so many seconds, are dead."""

MAX_REPLACEMENTS = 3
REPLACEMENT_PERIOD = 3_600.0

BACKOFF_FACTOR = 8.0
"""After its n-th replacement a stream that still says nothing causes none for `FIRST_FRAME` times
the n-th power of this, in seconds."""

_UP = (StreamState.ACKNOWLEDGED, StreamState.LIVE)

_TRADES = (DataType.TRADE, DataType.AGG_TRADE)

# Which kinds prove that one must move. Quotes don't move with every change of a book, nor candles
# with every quote, so these prove nothing the other way round.
_WITNESSES: dict[DataType, tuple[DataType, ...]] = {
    DataType.TRADE: (DataType.AGG_TRADE,),
    DataType.AGG_TRADE: (DataType.TRADE,),
    DataType.BOOK: (*_TRADES, DataType.QUOTE),
    DataType.QUOTE: _TRADES,
    DataType.KLINE: _TRADES,
    DataType.TICKER: _TRADES,
    DataType.MINI_TICKER: _TRADES,
}
_WITNESS_KINDS = {kind for kinds in _WITNESSES.values() for kind in kinds}


@attrs.define
class Judgement:
    """What is to be done: streams to subscribe again, why the connection is to be replaced (None:
    it is not), and whether the venue is to be asked what it holds."""

    resubscribe: list[str] = attrs.field(factory=list)
    replace: str | None = None
    ask_list: bool = False


@attrs.define(eq=False)
class _Pulse:
    """What is known of one stream. ``since``: monotonic time of its last message, or of its
    subscription; ``bound``: silence that it may keep."""

    status: StreamStatus
    frames: int
    since: float
    bound: float
    witnessed: int  # messages of its witnesses, at that time
    heard: float | None = None  # the time of its last message on this connection
    tries: int = 0  # steps taken since it was last alive

    @property
    def is_up(self) -> bool:
        """Whether it ought to deliver: not while it is asked for again, nor once it is refused."""
        return self.status.state in _UP


class Liveness:
    """Judges the streams of one connection, over all its epochs."""

    def __init__(self, statuses: Mapping[str, StreamStatus], *, can_list: bool) -> None:
        self._statuses = statuses
        self._can_list = can_list
        self._pulses: dict[str, _Pulse] = {}
        self._bounds: dict[str, float] = {}  # learned, and kept through reconnects
        self._witnesses: Counter[tuple[Symbol, DataType]] = Counter()  # their messages
        self._replacements: deque[float] = deque()
        self._patience: dict[str, tuple[int, float]] = {}  # replacements so far, none before then
        self._listed_at = -LIST_EVERY
        self._has_quiet = False  # streams of which the venue is to be asked
        self._last_progress = 0.0

    def opened(self, now: float) -> None:
        """A new epoch: nothing is subscribed yet."""
        for name, pulse in self._pulses.items():
            self._bounds[name] = pulse.bound
        self._pulses.clear()
        self._last_progress = now
        self._listed_at = now

    def judge(self, now: float) -> Judgement:
        """Look at every stream; what is to be done."""
        self._look(now)
        judgement = Judgement()
        for pulse in self._pulses.values():
            if pulse.is_up and now - pulse.since > pulse.bound:
                self._past_bound(pulse, now, judgement)
        if self._can_list and now - self._listed_at >= LIST_EVERY:
            self._has_quiet |= any(
                pulse.status.stream.sparse and now - pulse.since > LIST_EVERY
                for pulse in self._pulses.values()
            )
        if self._has_quiet and now - self._listed_at >= LIST_PAUSE:
            judgement.ask_list = True
            self._has_quiet = False
            self._listed_at = now
        return judgement

    def listed(self, names: Collection[str], now: float) -> Judgement:
        """The venue said what it holds: what we believe to be subscribed and is not, is dead."""
        self._look(now)
        judgement = Judgement()
        held = set(names)
        for name, pulse in self._pulses.items():
            if pulse.is_up and name not in held:
                self._dead(pulse, now, judgement, "the venue does not hold it")
        return judgement

    # ------------------------------------------------------------------------------------ looking
    def _look(self, now: float) -> None:
        """Bring the pulses up to date with the streams' counts."""
        pulses, statuses = self._pulses, self._statuses
        for name, known in list(pulses.items()):
            if statuses.get(name) is not known.status or known.status.state is StreamState.FAILED:
                del pulses[name]
        self._witnesses.clear()
        for status in statuses.values():
            # What is repeated without a change (Bybit's quotes) proves nothing.
            if status.stream.data_type in _WITNESS_KINDS and status.stream.every is None:
                key = (status.stream.symbol, status.stream.data_type)
                self._witnesses[key] += status.frames
        for name, status in statuses.items():
            if status.state not in _UP:
                continue
            if status.stream.route == REST_ROUTE:
                continue  # whoever polls it knows how it is
            pulse = pulses.get(name)
            if pulse is None:
                bound, witnessed = self._first_bound(name, status), self._witnessed(status.stream)
                pulses[name] = _Pulse(status, status.frames, now, bound, witnessed)
            elif status.frames != pulse.frames:
                self._is_alive(pulse, now)

    def _is_alive(self, pulse: _Pulse, now: float) -> None:
        status = pulse.status
        if pulse.heard is not None and not status.stream.sparse and status.stream.every is None:
            # Also where it was subscribed again meanwhile: that it came only then is how it is.
            pulse.bound = max(pulse.bound, LEARNED_FACTOR * (now - pulse.heard))
        pulse.frames = status.frames
        pulse.since = pulse.heard = self._last_progress = now
        self._patience.pop(status.stream.name, None)
        pulse.witnessed = self._witnessed(status.stream)
        if pulse.tries:
            pulse.tries = 0
            status.reason = ""

    def _first_bound(self, name: str, status: StreamStatus) -> float:
        every = status.stream.every
        if every is not None:
            return max(PROMISED_FLOOR, PROMISED_FACTOR * every)
        return max(FIRST_FRAME, self._bounds.get(name, 0.0))

    def _witnessed(self, stream: Stream) -> int:
        """Messages of the streams that prove that this one must move."""
        kinds = _WITNESSES.get(stream.data_type, ())
        return sum(self._witnesses[stream.symbol, kind] for kind in kinds)

    # ------------------------------------------------------------------------------------ judging
    def _past_bound(self, pulse: _Pulse, now: float, judgement: Judgement) -> None:
        stream = pulse.status.stream
        silent = f"nothing came for {now - pulse.since:.0f} s"
        if stream.every is not None:
            self._dead(pulse, now, judgement, silent, replaces=not self._others_keep(pulse, now))
        elif self._witnessed(stream) - pulse.witnessed >= WITNESS_FRAMES:
            self._dead(pulse, now, judgement, f"{silent}, while its symbol went on")
        elif stream.sparse and not self._all_is_mute(pulse, now):
            return
        elif now - self._last_progress > pulse.bound:
            self._dead(pulse, now, judgement, f"{silent} on the whole connection")
        elif not self._can_list:
            self._dead(pulse, now, judgement, silent, replaces=False)
        else:
            pulse.bound *= 2  # quiet, as far as can be told; the venue is asked
            self._has_quiet = True

    def _others_keep(self, pulse: _Pulse, now: float) -> bool:
        """Whether another stream of which messages are promised delivers on this connection."""
        return any(
            other is not pulse
            and other.status.stream.every is not None
            and other.heard is not None
            and now - other.heard <= other.bound
            for other in self._pulses.values()
        )

    def _all_is_mute(self, pulse: _Pulse, now: float) -> bool:
        """Whether so many streams that trades move say nothing for so long that it can't be so."""
        if now - self._last_progress <= MUTE or pulse.status.stream.data_type not in _WITNESSES:
            return False
        moved = sum(p.status.stream.data_type in _WITNESSES for p in self._pulses.values())
        return moved >= MANY

    def _dead(
        self,
        pulse: _Pulse,
        now: float,
        judgement: Judgement,
        why: str,
        *,
        replaces: bool = True,
    ) -> None:
        """Take the next step: subscribe again, then replace the connection, then let it be."""
        pulse.tries += 1
        name = pulse.status.stream.name
        if pulse.tries == 1:
            judgement.resubscribe.append(name)
        elif replaces and judgement.replace is None and self._may_replace(name, now):
            self._note_replacement(name, now)
            judgement.replace = f"{name}: {why}, though it was subscribed again"
        else:
            pulse.bound *= 2
        pulse.status.reason = why
        pulse.since = now  # it has its time anew
        pulse.witnessed = self._witnessed(pulse.status.stream)

    def _may_replace(self, name: str, now: float) -> bool:
        while self._replacements and self._replacements[0] <= now - REPLACEMENT_PERIOD:
            self._replacements.popleft()
        _, not_before = self._patience.get(name, (0, now))
        return now >= not_before and len(self._replacements) < MAX_REPLACEMENTS

    def _note_replacement(self, name: str, now: float) -> None:
        """It is done for all that are dead now."""
        self._replacements.append(now)
        dead = {p.status.stream.name for p in self._pulses.values() if p.tries}
        for one in dead | {name}:
            times = self._patience.get(one, (0, now))[0] + 1
            self._patience[one] = times, now + FIRST_FRAME * BACKOFF_FACTOR**times
