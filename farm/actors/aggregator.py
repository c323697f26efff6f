"""The aggregator actor: merges the lanes of a line, checks ids, keeps books, publishes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from farm.actors.losses import lose_bundles
from farm.actors.mailbox import Mailbox
from farm.actors.supervisor import Health
from farm.books.keeper import BookKeeper
from farm.bundle import Bundle
from farm.entities import Gap
from farm.exchanges.continuity import TradeContinuity
from farm.exchanges.lanes.merger import LaneMerger

__all__ = ["AggregatorActor"]

_lose = lose_bundles("parser>aggregator")


@attrs.define
class _InHand:
    """The bundle that is being processed: as it came and, from then on, merged and checked."""

    given: Bundle
    merged: Bundle | None = None

    def stands_for(self, bundle: Bundle) -> bool:
        """Whether `bundle` is what is left of this one, which was quarantined."""
        given = self.given
        place = given.origin.connection, given.serial
        return bundle is not given and place == (bundle.origin.connection, bundle.serial)


class AggregatorActor:
    """Takes the bundles of a line's parsers, sets verdicts, and publishes them.

    `publish` is called once for each bundle, last; its receivers discard serials they have seen.
    `on_commands` has what the books ask for executed.
    """

    def __init__(
        self,
        name: str,
        keeper: BookKeeper,
        merger: LaneMerger,
        continuity: TradeContinuity,
        inbox: Mailbox[Bundle],
        publish: Callable[[Bundle], Awaitable[None]],
        on_commands: Callable[[], None],
    ) -> None:
        self.name = name
        self._keeper = keeper
        self._merger = merger
        self._continuity = continuity
        self._inbox = inbox
        self._publish = publish
        self._on_commands = on_commands
        self._last_serials: dict[str, int] = {}
        self._more_gaps: list[Gap] = []  # found here, and not published yet
        self._in_hand: _InHand | None = None

    async def run(self, health: Health) -> None:
        """Aggregate until the mailbox ends."""
        health.ready()
        inbox, serials = self._inbox.reader(), self._last_serials
        redelivered = inbox.redelivers
        async for bundle in inbox:
            connection = bundle.origin.connection
            if bundle.serial > serials.get(connection, -1):
                await self._process(bundle, redelivered)
                serials[connection] = bundle.serial
            redelivered = False

    async def _process(self, bundle: Bundle, redelivered: bool) -> None:
        if redelivered:  # it was half done when the keeper crashed
            self._more_gaps += self._keeper.interrupted(bundle.receive_time)
        bundle = self._merged(bundle)
        if self._more_gaps:
            bundle = self._keeper.with_gaps(bundle, self._more_gaps)
        bundle = self._keeper.take(bundle)
        self._on_commands()
        await self._publish(bundle)
        self._more_gaps = []
        self._in_hand = None

    def _merged(self, bundle: Bundle) -> Bundle:
        """The bundle merged and checked, which is done once, however often it is delivered."""
        hand = self._in_hand
        if hand is not None and hand.stands_for(bundle):
            # What crashed us twice must not come back, nor what of other lanes came with it.
            lost = hand.merged or hand.given
            hand = _InHand(bundle, attrs.evolve(lost, batches=_lose(None, lost, True).batches))
        elif hand is None or hand.given is not bundle:
            hand = _InHand(bundle)
        self._in_hand = hand
        if hand.merged is None:
            hand.merged = self._merge(bundle)
        if hand.merged.final:
            self._end_lane(bundle)
        return hand.merged

    def _merge(self, bundle: Bundle) -> Bundle:
        lane = bundle.origin.connection
        if bundle.final and self._merger.lanes == [lane]:
            # No bundle follows with which what was kept back could pass: it must be this one.
            self._more_gaps += self._merger.remove(lane, bundle.receive_time)
        return self._continuity.take(self._merger.take(bundle))

    def _end_lane(self, bundle: Bundle) -> None:
        """The last word of a lane; of the last one, what was held back for events to come."""
        lane = bundle.origin.connection
        if lane in self._merger.lanes:
            self._more_gaps += self._merger.remove(lane, bundle.receive_time)
        if not self._merger.lanes:
            self._more_gaps += self._continuity.finish()
