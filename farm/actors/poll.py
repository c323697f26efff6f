"""The poll actor: takes the place of a connection for feeds that are polled by REST.

One run of it is one epoch, as of a connection: trouble with the network ends it, and what was
missed until the next answer is a gap like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

import trio

from farm.actors.connection import ConnectionCounters
from farm.actors.mailbox import Mailbox
from farm.actors.supervisor import Health
from farm.errors import ConnectionLost, RestError, RestRateLimited
from farm.exchanges.rules import PollRules
from farm.exchanges.session import Closed, Input, Opened, SnapshotReply, Tick
from farm.exchanges.streams import Stream
from farm.net.rest import RestClient
from farm.types import Nanoseconds

__all__ = ["PollActor"]


class PollActor:
    """Asks for each of `streams()` every ``rules.every`` seconds, evenly spread, within the weight
    budget; where that is too tight, as often as it allows.
    """

    def __init__(
        self,
        name: str,
        rules: PollRules,
        streams: Callable[[], Sequence[Stream]],
        client: RestClient,
        mailbox: Mailbox[Input],
        wall_clock: Callable[[], Nanoseconds],
    ) -> None:
        self.name = name
        self.counters = ConnectionCounters()
        self._rules = rules
        self._streams = streams
        self._client = client
        self._mailbox = mailbox
        self._wall_clock = wall_clock
        self._epoch = 0
        self._ordinal = 0
        self._serial = 0
        self._asked: Stream | None = None  # the last one
        self._sent_at = 0.0

    async def run(self, health: Health) -> None:
        """Poll for one epoch; raises ConnectionLost at its end."""
        self._epoch += 1
        self._ordinal = 0
        self.put(Opened(self._epoch, self._wall_clock(), trio.current_time()))
        self.counters.connects += 1
        health.ready()
        reason: str | None = None
        try:
            await self._poll()
        except ConnectionLost as lost:
            reason = str(lost)
            raise
        except Exception:
            reason = "the poll actor crashed"
            raise
        finally:
            now = self._wall_clock()
            self.put(Closed(self._epoch, now, reason or "closed by us", reason is None))

    async def _poll(self) -> NoReturn:
        streams = self._in_turn()
        while True:
            for stream in streams:
                await self._ask(stream)
                # From when it was sent: what is late is not made up for by a burst.
                await trio.sleep_until(self._sent_at + self._rules.every / len(streams))
            if not streams:
                await trio.sleep(self._rules.every)
            self.put(Tick(self._epoch, self._wall_clock(), trio.current_time()))
            streams = list(self._streams())

    def _note_sent(self) -> None:
        self._sent_at = trio.current_time()

    def _in_turn(self) -> list[Stream]:
        """All of them, from the one behind the last that was asked for: by that one the epoch
        before may have ended, and one that always fails must not starve those behind it."""
        streams = list(self._streams())
        if self._asked in streams:
            place = streams.index(self._asked) + 1
            streams = streams[place:] + streams[:place]
        return streams

    async def _ask(self, stream: Stream) -> None:
        self._asked = stream
        rules, params = self._rules, {"symbol": stream.symbol}
        try:
            reply = await self._client.get(
                rules.path, params, weight=rules.weight, on_granted=self._note_sent
            )
            body = reply.body
        except RestRateLimited as error:
            raise ConnectionLost(str(error), code=error.status) from error
        except RestError as error:
            if error.status is None or error.status >= 500:
                raise ConnectionLost(str(error), code=error.status) from error
            body = error.body  # the venue refuses this one; it is kept, with a gap
        time, size = self._wall_clock(), len(body)
        self.counters.frames += 1
        self.counters.nbytes += size
        self.counters.last_frame = time
        self.put(SnapshotReply(self._epoch, time, self._ordinal, stream, body, size))
        self._ordinal += 1

    def put(self, item: Input) -> None:
        """Hand an input to the parser, numbered: all inputs of a source go this way."""
        self._serial += 1
        item.serial = self._serial
        self._mailbox.put(item)
