"""What went through the queues of a run, all those of one kind together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from farm.actors.mailbox import Mailbox
from farm.monitor.stats import EdgeStats

__all__ = ["EdgeCounts"]


class EdgeCounts:
    """The accounts of mailboxes by edge: ``binance/spot#1 connection>parser`` counts with all that
    are ``connection>parser``."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {}

    def add(self, mailbox: Mailbox[Any]) -> None:
        """The account of one more mailbox, as it is now."""
        count = self._counts.setdefault(_kind_of(mailbox.name), Counter())
        count["offered"] += mailbox.offered
        count["taken"] += mailbox.taken
        count["dropped"] += mailbox.dropped
        count["waiting"] += len(mailbox)

    def add_all(self, mailboxes: Iterable[Mailbox[Any]]) -> None:
        """The accounts of these."""
        for mailbox in mailboxes:
            self.add(mailbox)

    def include(self, others: EdgeCounts) -> None:
        """The accounts of others as well."""
        for edge, count in others._counts.items():
            self._counts.setdefault(edge, Counter()).update(count)

    def stats(self) -> list[EdgeStats]:
        """One account for each edge."""
        return [
            EdgeStats(edge, count["offered"], count["taken"], count["dropped"], count["waiting"])
            for edge, count in self._counts.items()
        ]


def _kind_of(name: str) -> str:
    """An edge without whose it is: all subscribers are one."""
    source, arrow, target = name.partition(">")
    if not arrow:  # ``subscriber 3``
        return source.partition(" ")[0]
    return f"{source.rpartition(' ')[2]}>{target}"
