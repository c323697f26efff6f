"""Order books: what a changed level costs, what a read costs, in books of three sizes.

The diffs are recorded ones of Binance USD-M, 68 changed levels each, passed on as a venue does that
shows the best 100, 1,000 or 10,000 levels a side; levels that rest fill the book up to that size.
All contenders get the levels decoded to floats, and must end with the right best 20 of each side:
*sortedcontainers* is a ``SortedDict`` a side, as it is written by hand; *order-book* the C
extension that cryptofeed keeps its books in. What farm reads are objects which say besides whether
a level was within the snapshot; the others read pairs.

Keeping is the whole of it: ids, states and verdict, and each quote compared with the top.

All times are of the processor, since none of this ever waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import attrs

from benchmarks.book_contenders import BOOKS, TOP, Book, FarmBook, Side
from benchmarks.book_payloads import Depth, Diff, events, padded, recorded_depth, window
from benchmarks.console import command_line
from benchmarks.result import Case, Figure, Report
from benchmarks.rounds import in_rounds
from farm.books.order_book import Levels
from farm.books.sync import make_sync
from farm.entities import BookUpdate, Quote
from farm.exchanges.streams import Stream
from farm.types import BookVerdict, Market

SIZES = (100, 1_000, 10_000)
GOAL = 2.5
"""How many times what a change in 100 levels costs it may cost in 10,000."""

Timed: TypeAlias = Callable[[Book, list[Diff]], None]


@attrs.frozen
class Work:
    """What is timed: ``run``, on a book that was just filled, or that has had all diffs
    (``after``), in seconds divided by ``per``."""

    name: str
    unit: str
    run: Timed
    per: float
    after: bool = False


def run(rounds: int, quick: bool) -> Report:
    """All cases of all sizes."""
    depth, source = recorded_depth(Market.USDM, 150 if quick else 1_500)
    books = {size: window(padded(depth, size), size) for size in SIZES}
    cases = [case for size in SIZES for case in _cases(books[size], size, source, rounds, quick)]
    cases.append(_growth(books, source, rounds))
    markets = (Market.SPOT, Market.USDM, Market.COINM)
    cases += [_keeping(market, rounds, quick) for market in markets]
    return Report("books", "Order books", cases)


# ------------------------------------------------------------------------------------------ levels
def _cases(sent: Depth, size: int, source: str, rounds: int, quick: bool) -> list[Case]:
    right = _right(sent)
    diffs, reads = len(sent.diffs), 100 if quick else 2_000

    def read(book: Book, _diffs: list[Diff]) -> None:
        top = book.top
        for _ in range(reads):
            top()

    kinds = [
        _change(sent),
        Work(f"diff and best {TOP}", "CPU us a diff", _apply_and_read, diffs / 1e6),
        Work(f"best {TOP}", "CPU us a read of both sides", read, reads / 1e6, after=True),
    ]
    note = f"{source}, {diffs:,} diffs, {sent.changes:,} changes"
    return [
        Case(
            f"{work.name}, {size:,} levels",
            work.unit,
            _figures(sent, right, work, rounds),
            note=note,
        )
        for work in kinds
    ]


def _change(sent: Depth) -> Work:
    return Work("change", "CPU ns a level", _apply, sent.changes / 1e9)


def _growth(books: Mapping[int, Depth], source: str, rounds: int) -> Case:
    """What the size alone costs farm, in rounds that have all sizes."""
    works = {f"farm, {size:,} levels": _change(sent) for size, sent in books.items()}
    timers = {
        name: _timer(FarmBook, sent, work)
        for (name, work), sent in zip(works.items(), books.values(), strict=True)
    }
    figures = [
        Figure(name, [value / works[name].per for value in seconds])
        for name, seconds in in_rounds(timers, rounds).items()
    ]
    case = Case("change, by levels a side", "CPU ns a level", figures, note=source)
    case.aim_time("farm, 10,000 levels", "farm, 100 levels", GOAL)
    return case


def _figures(sent: Depth, right: tuple[Side, Side], work: Work, rounds: int) -> list[Figure]:
    """`work` with the book of each contender that is installed here."""
    figures = {name: _figure(name, make, needs) for name, (make, needs) in BOOKS.items()}
    present = {name: BOOKS[name][0] for name, figure in figures.items() if figure.absent is None}
    for name, make in present.items():
        figures[name].delivered = _delivered(make, sent, right)
    timers = {name: _timer(make, sent, work) for name, make in present.items()}
    for name, seconds in in_rounds(timers, rounds).items():
        figures[name].values = [value / work.per for value in seconds]
    return list(figures.values())


def _figure(name: str, make: Callable[[], Book], needs: str | None) -> Figure:
    try:
        make()
    except ModuleNotFoundError as error:
        if error.name != needs:
            raise
        return Figure(name, absent="not installed: pip install 'collector-farm[bench]'")
    return Figure(name)


def _timer(make: Callable[[], Book], sent: Depth, work: Work) -> Callable[[], float]:
    start, diffs = _prepared(make, sent)

    def timer() -> float:
        book = make()
        book.start(*start)
        if work.after:
            _apply(book, diffs)
        begin = time.process_time()
        work.run(book, diffs)
        return time.process_time() - begin

    return timer


def _prepared(make: Callable[[], Book], sent: Depth) -> tuple[Diff, list[Diff]]:
    levels = make().levels
    start = levels(sent.bids), levels(sent.asks)
    return start, [(levels(bids), levels(asks)) for bids, asks in sent.diffs]


def _apply(book: Book, diffs: list[Diff]) -> None:
    apply = book.apply
    for bids, asks in diffs:
        apply(bids, asks)


def _apply_and_read(book: Book, diffs: list[Diff]) -> None:
    apply, top = book.apply, book.top
    for bids, asks in diffs:
        apply(bids, asks)
        top()


def _right(sent: Depth) -> tuple[Side, Side]:
    """The best of both sides after all diffs, by a dict and a sort at the end."""
    sides: list[Side] = []
    for place, start in enumerate((sent.bids, sent.asks)):
        sizes = dict(start)
        for diff in sent.diffs:
            sizes.update(diff[place])
        resting = [level for level in sizes.items() if level[1]]
        sides.append(sorted(resting, reverse=place == 0)[:TOP])
    return sides[0], sides[1]


def _delivered(make: Callable[[], Book], sent: Depth, right: tuple[Side, Side]) -> float:
    """The share of the right levels that a contender ends with, each in its place."""
    start, diffs = _prepared(make, sent)
    book = make()
    book.start(*start)
    _apply(book, diffs)
    pairs = [
        pair for side in zip(book.shown(), right, strict=True) for pair in zip(*side, strict=False)
    ]
    return sum(shown == wanted for shown, wanted in pairs) / sum(map(len, right))


# ----------------------------------------------------------------------------------------- keeping
def _keeping(market: Market, rounds: int, quick: bool) -> Case:
    rows, stream, source = events(market, 300 if quick else 3_000)
    updates = [row for row in rows if isinstance(row, BookUpdate)]
    quotes, changes = len(rows) - len(updates), sum(map(_changes, updates))
    contenders = {
        "farm": lambda: _kept(rows, stream)[0],
        "farm, without quotes": lambda: _kept(updates, stream)[0],
        "farm, its levels alone": lambda: _levels_alone(updates),
    }
    kept, compared = _kept(rows, stream)[1:]
    figures = [
        Figure(name, [seconds / len(updates) * 1e9 for seconds in values])
        for name, values in in_rounds(contenders, rounds).items()
    ]
    figures[0].delivered = kept / len(updates)
    note = (
        f"{source}, {len(updates):,} diffs of {changes / len(updates):.0f} changes and {quotes:,}"
        f" quotes, of which {compared:,} carry an id of a diff"
    )
    return Case(f"keeping, {stream.market.value}", "CPU ns a diff", figures, note=note)


def _changes(update: BookUpdate) -> int:
    return len(update.bid_levels) + len(update.ask_levels)


def _kept(rows: Sequence[BookUpdate | Quote], stream: Stream) -> tuple[float, int, int]:
    """Keep a book: the seconds, the updates that went into it, and the quotes compared."""
    sync = make_sync(stream, paced=False)
    update, quote = sync.update, sync.quote
    begin = time.process_time()
    for row in rows:
        if isinstance(row, Quote):
            quote(row)
        else:
            update(row)
    seconds = time.process_time() - begin
    if sync.verdict not in (BookVerdict.VERIFIED, BookVerdict.SYNCING) or sync.check.wrong:
        raise AssertionError(f"the book of {stream.feed} is {sync.verdict.value}")
    return seconds, sync.applied + sync.repeats + sync.snapshots, sync.check.compared


def _levels_alone(updates: Sequence[BookUpdate]) -> float:
    levels = Levels()
    begin = time.process_time()
    for update in updates:
        change = levels.replace if update.is_snapshot else levels.apply
        change(update.bid_levels, update.ask_levels)
    return time.process_time() - begin


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    command_line("books", __doc__, run, arguments)


if __name__ == "__main__":
    main()
