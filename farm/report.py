"""What the command line shows of a farm: a live table, plain lines, a summary, one JSON object."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import attrs
import trio
from rich.console import Console, Group
from rich.live import Live
from rich.logging import RichHandler
from rich.table import Table
from rich.text import Text

from farm.api.farm import Farm
from farm.exchanges.catalogue import MarketOffer
from farm.monitor.stats import BookStats, FarmStats, FeedStats
from farm.types import BookVerdict, Completeness

__all__ = ["Reporter", "print_offers", "summary_object"]

REFRESH = 0.5  # seconds between two looks at a terminal's table
LINE_EVERY = 5.0  # seconds between two plain lines

_NUMBER_WIDTHS = {"events": 7, "per s": 6, "lag ms": 6, "gaps": 4, "checks": 6}
_VERDICT_STYLE = {
    BookVerdict.VERIFIED.value: "green",
    BookVerdict.SYNCING.value: "yellow",
    BookVerdict.UNVERIFIABLE.value: "yellow",
    BookVerdict.SUSPECT.value: "bold red",
    BookVerdict.STALE.value: "bold red",
}
_COMPLETENESS_STYLE = {
    Completeness.COMPLETE.value: "green",
    Completeness.INCOMPLETE.value: "bold red",
    Completeness.UNKNOWN.value: "yellow",
}
_STATE_STYLE = {"live": "green", "down": "bold red", "failed": "bold red"}


class Reporter:
    """Shows a farm while it runs, and sums it up at the end.

    On a terminal a table that renews itself, otherwise a plain line now and then; with `as_json`
    progress goes to stderr, and nothing but one object to stdout.
    """

    def __init__(self, title: str, *, as_json: bool = False, out: TextIO | None = None) -> None:
        self._title = title
        self._as_json = as_json
        self._out = out or sys.stdout
        console = Console(file=sys.stderr if as_json else self._out)
        # A file or a pipe has no width of its own, and a table cut at 80 columns helps nobody.
        self._console = console if console.is_terminal else Console(file=console.file, width=120)
        self._before: tuple[float, dict[str, int]] | None = None

    async def watch(self, farm: Farm) -> None:
        """Show the farm until cancelled."""
        started = trio.current_time()
        if not self._console.is_terminal:
            while True:
                await trio.sleep(LINE_EVERY)
                self._console.out(self._line(farm.stats(), trio.current_time() - started))
        with self._live(farm, started) as live:
            while True:
                await trio.sleep(REFRESH)
                live.update(self._view(farm.stats(), started), refresh=True)

    def finish(self, stats: FarmStats, more: dict[str, Any] | None = None) -> None:
        """Sum up a run that has ended. `more` is about the run itself, such as its seconds."""
        if self._as_json:
            self._out.write(json.dumps(summary_object(stats, more), indent=2) + "\n")
            self._out.flush()
            return
        self._console.print(self._table(stats, {}))
        self._console.print(_totals_text(stats))
        for name, count in sorted(stats.unparsed.items()):
            self._console.print(Text(f"  kept unparsed: {count:,} of {name}"))
        for name, count in sorted(stats.unknown_values.items()):
            self._console.print(Text(f"  unknown value: {count:,} of {name}"))
        for feed in stats.feeds:
            if feed.reason:
                self._console.print(Text(f"  {feed.feed}: {feed.reason}", style="red"))
        for process in stats.processes:
            if process.restarts:
                text = f"  {process.name}: replaced {process.restarts} times: {process.reason}"
                self._console.print(Text(text, style="red"))

    def note(self, text: str) -> None:
        """A line for the reader, kept out of the JSON object."""
        self._console.print(Text(text))

    def log_handler(self) -> logging.Handler:
        """Where warnings go: above the table on a terminal, else to stderr."""
        if self._console.is_terminal:
            return RichHandler(console=self._console, show_path=False)
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        return handler

    @contextmanager
    def _live(self, farm: Farm, started: float) -> Iterator[Live]:
        view = self._view(farm.stats(), started)
        with Live(view, console=self._console, auto_refresh=False, transient=True) as live:
            yield live

    def _view(self, stats: FarmStats, started: float) -> Group:
        now = trio.current_time()
        rates = self._rates(stats, now)
        head = Text(f"{self._title}   {now - started:.0f} s   ", style="bold")
        head.append(_processes_text(stats))
        head.append(_connections_text(stats))
        # The totals come first: a small screen cuts the table at its end.
        return Group(head, _totals_text(stats), self._table(stats, rates))

    def _rates(self, stats: FarmStats, now: float) -> dict[str, float]:
        """Events a second since the last look."""
        counts = {feed.feed: feed.events for feed in stats.feeds}
        before, self._before = self._before, (now, counts)
        if before is None or now <= before[0]:
            return {}
        return {
            feed: (count - before[1].get(feed, 0)) / (now - before[0])
            for feed, count in counts.items()
        }

    def _table(self, stats: FarmStats, rates: dict[str, float]) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("feed", "state", "book"):
            table.add_column(name, no_wrap=True)
        for name, width in _NUMBER_WIDTHS.items():  # where it is narrow, names give way
            table.add_column(name, justify="right", no_wrap=True, min_width=width)
        for feed in stats.feeds:
            rate = rates.get(feed.feed, feed.rate)
            table.add_row(
                feed.feed,
                Text(feed.state, style=_STATE_STYLE.get(feed.state, "yellow")),
                _verdict_text(feed.book),
                f"{feed.events:,}",
                "" if rate is None else f"{rate:,.1f}",
                "" if feed.lag_ms is None else f"{feed.lag_ms:,.1f}",
                Text(f"{feed.gaps:,}", style="red" if feed.gaps else ""),
                _checks_text(feed),
            )
        return table

    def _line(self, stats: FarmStats, seconds: float) -> str:
        totals = stats.totals
        books = [feed.book.verdict for feed in stats.feeds if feed.book is not None]
        verified = sum(verdict == BookVerdict.VERIFIED.value for verdict in books)
        return (
            f"{seconds:6.0f} s  {totals.frames:,} frames  {totals.events:,} events  "
            f"{totals.gaps:,} gaps  {verified} of {len(books)} books verified  "
            f"{totals.reconnects} reconnects  {totals.quarantined} quarantined"
        )


def print_offers(offers: Iterable[MarketOffer], out: TextIO | None = None) -> None:
    """Print what markets offer, a table and a list of limits for each."""
    console = Console(file=out)
    if not console.is_terminal:
        console = Console(file=console.file, width=180)
    for offer in offers:
        console.print(Text(f"{offer.market}   {offer.ws}   {offer.rest}", style="bold"))
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("stream", "venue's name", "gives", "what can be proven"):
            table.add_column(name, overflow="fold")
        for stream in offer.streams:
            word = stream.stream + (" (whole market)" if stream.whole_market else "")
            table.add_row(
                Text(word), Text(stream.name), Text(", ".join(stream.gives)), Text(stream.proof)
            )
        console.print(table)
        for stream in offer.streams:
            if stream.details:
                console.print(Text(f"  {stream.stream}: {stream.choice}"))
        console.print(Text(f"  limits: {'; '.join(limit.text for limit in offer.limits)}\n"))


def summary_object(stats: FarmStats, more: dict[str, Any] | None = None) -> dict[str, Any]:
    """The one object that ``--json`` prints: feeds by name, connections, totals."""
    plain = stats.to_dict()
    feeds = {feed.pop("feed"): feed for feed in plain.pop("feeds")}
    return {**(more or {}), "totals": plain.pop("totals"), "feeds": feeds, **plain}


def _verdict_text(book: BookStats | None) -> Text:
    if book is None:
        return Text("")
    return Text(book.verdict, style=_VERDICT_STYLE[book.verdict])


def _checks_text(feed: FeedStats) -> Text:
    """Comparisons of the book with quotes of equal id, right of all; of trades, what ids prove."""
    book, ids = feed.book, feed.continuity
    if book is not None and book.compared:
        right = book.compared - book.wrong
        return Text(f"{right:,}/{book.compared:,}", style="bold red" if book.wrong else "green")
    if ids is not None:
        return Text(ids.completeness, style=_COMPLETENESS_STYLE[ids.completeness])
    return Text("")


def _connections_text(stats: FarmStats) -> Text:
    text = Text()
    for connection in stats.connections:
        style = "green" if connection.status == "running" else "yellow"
        text.append(f"{connection.name} {connection.status}  ", style=style)
    return text


def _processes_text(stats: FarmStats) -> Text:
    """The shards, where there are any."""
    text = Text()
    for process in stats.processes[1:]:
        style = "green" if process.state == "running" else "bold red"
        text.append(f"{process.name} {process.state}  ", style=style)
    return text


def _totals_text(stats: FarmStats) -> Text:
    totals = attrs.asdict(stats.totals)
    text = "  ".join(f"{count:,} {name}" for name, count in totals.items())
    if stats.rows_written is not None:
        text += f"  {stats.rows_written:,} rows in {stats.files_written:,} files"
    return Text(text, style="bold")
