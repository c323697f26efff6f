"""The aggregator actor: merges the lanes of a line, checks ids, keeps books, publishes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from farm.actors.hub import Publisher
from farm.actors.losses import lose_bundles
from farm.actors.mailbox import Mailbox
from farm.actors.supervisor import Health
from farm.books.keeper import BookKeeper
from farm.bundle import Bundle
from farm.entities import Gap
from farm.exchanges.continuity import TradeContinuity
from farm.exchanges.lanes.merger import LaneMerger
from farm.types import Nanoseconds

__all__ = ["AggregatorActor"]

_lose = lose_bundles("parser>aggregator")


@attrs.define
class _InHand:
    """The bundle that is being processed, and how far it got, whatever crashes meanwhile: as it
    came, merged and checked, as the books were given it, and as they gave it back."""

    given: Bundle
    merged: Bundle | None = None
    begun: Bundle | None = None
    done: Bundle | None = None

    def stands_for(self, bundle: Bundle) -> bool:
        """Whether `bundle` is what is left of this one, which was quarantined."""
        given = self.given
        place = given.origin.connection, given.serial
        return bundle is not given and place == (bundle.origin.connection, bundle.serial)


class AggregatorActor:
    """Takes the bundles of a line's parsers, sets verdicts, and publishes them.

    `publish` is called once for each bundle, last; its receivers discard serials they have seen. A
    :class:`~farm.actors.hub.Publisher` is awaited only for bundles that it does not take at once.
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
        with self._inbox.reader(self.name) as inbox:
            await inbox.serve(self._begin, self._finish)

    def _begin(self, bundle: Bundle) -> bool:
        """Bring everything up to date, and publish if nobody has to be waited for."""
        if bundle.serial <= self._last_serials.get(bundle.origin.connection, -1):
            return True
        hand = self._take_in_hand(bundle)
        done = hand.done
        if done is None:
            done = hand.done = self._bring_up_to_date(hand)
        self._on_commands()
        publish = self._publish
        if not (isinstance(publish, Publisher) and publish.offer(done)):
            return False
        self._end(hand)
        return True

    async def _finish(self) -> None:
        hand = self._in_hand
        assert hand is not None
        assert hand.done is not None
        await self._publish(hand.done)
        self._end(hand)

    def _end(self, hand: _InHand) -> None:
        """It is published."""
        self._more_gaps = []
        self._in_hand = None
        given = hand.given
        self._last_serials[given.origin.connection] = given.serial

    def _take_in_hand(self, bundle: Bundle) -> _InHand:
        """The bundle merged and checked, which is done once, however often it is delivered."""
        hand = self._in_hand
        if hand is not None and hand.stands_for(bundle):
            # What crashed us twice must not come back, nor what of other lanes came with it.
            lost = hand.merged or hand.given
            loss = _lose(None, lost, True).batches
            if hand.merged is not None:  # its ids were taken for delivered
                self._continuity.lose(gap for batch in loss for gap in batch.rows)
            hand = _InHand(bundle, attrs.evolve(lost, batches=loss))
        elif hand is None or hand.given is not bundle:
            hand = _InHand(bundle)
        self._in_hand = hand
        if hand.merged is None:
            hand.merged = self._merge(bundle)
        if hand.merged.final:
            self._end_lane(bundle)
        return hand

    def _bring_up_to_date(self, hand: _InHand) -> Bundle:
        """Have the books take the bundle; once, unless they crashed in the middle of it."""
        assert hand.merged is not None
        if hand.begun is not None:
            self._more_gaps += self._keeper.interrupted(hand.begun)
        bundle = hand.merged
        if self._more_gaps:
            bundle = self._keeper.with_gaps(bundle, self._more_gaps)
        hand.begun = bundle
        return self._keeper.take(bundle)

    def _merge(self, bundle: Bundle) -> Bundle:
        lane = bundle.origin.connection
        if bundle.final and self._merger.lanes == [lane]:
            # No bundle follows with which what was kept back could pass: it must be this one.
            self._more_gaps += self._remove(lane, bundle.receive_time)
        return self._continuity.take(self._merger.take(bundle))

    def _remove(self, lane: str, time: Nanoseconds) -> list[Gap]:
        return self._continuity.note(self._merger.remove(lane, time))

    def _end_lane(self, bundle: Bundle) -> None:
        """The last word of a lane; of the last one, what was held back for events to come."""
        lane = bundle.origin.connection
        if lane in self._merger.lanes:
            self._more_gaps += self._remove(lane, bundle.receive_time)
        if not self._merger.lanes:
            self._more_gaps += self._continuity.finish()
