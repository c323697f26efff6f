"""Parse throughput: payload bytes to normalised events, in one process, side by side.

Frames come in reads of up to 64 KiB, which is what one read of the socket brings in a flood. farm
is the protocol core as it runs live: routing, states, counters, batches. The others make the same
events in the plainest loop. *msgspec* only decodes into typed structs: the floor for all of them.
Before timing, the events are compared with those made by hand, field by field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
import msgspec

from benchmarks.console import command_line
from benchmarks.cryptofeeds import cryptofeeds
from benchmarks.parsing import by_farm
from benchmarks.parsing.by_cattrs import by_orjson
from benchmarks.parsing.by_cryptofeed import Worker, working
from benchmarks.parsing.by_hand import by_json
from benchmarks.parsing.cases import CASES, KEPT_BOOKS, KeptBook, ParseCase
from benchmarks.payloads import capture, frames_of, recorded_frames
from benchmarks.result import Case, Figure, Report
from benchmarks.rounds import in_rounds, timed
from farm.entities import data_type_of
from farm.exchanges.registry import rules_of
from farm.exchanges.streams import Stream
from farm.storage.capture import read_capture
from farm.types import Exchange

__all__ = ["main", "run"]

Prepare = Callable[[Sequence[list[bytes]]], Callable[[], int]]

READ_BYTES = 64 * 1024
JSON, ORJSON, CRYPTOFEED = "json + attrs", "orjson + cattrs", "cryptofeed"
FLOOR, OBJECTS, COLUMNS = "msgspec alone", "farm, objects", "farm, columns"
LEVELS, KEPT = "farm, level objects", "farm"
_OF_THE_RUN = {"ordinal", "receive_time", "verdict", "row"}  # what no text tells


def reads_of(frames: Sequence[bytes]) -> list[list[bytes]]:
    """Frames as the socket's reads would bring them."""
    reads: list[list[bytes]] = [[]]
    size = 0
    for frame in frames:
        if reads[-1] and size + len(frame) > READ_BYTES:
            reads.append([])
            size = 0
        reads[-1].append(frame)
        size += len(frame)
    return reads


def facts(event: Any) -> tuple[Any, ...]:
    """What an event says, levels as pairs, for comparison with another maker's."""
    told: list[Any] = [type(event)]
    for field in attrs.fields(type(event)):
        value = getattr(event, field.name)
        if field.name in ("bid_levels", "ask_levels"):
            value = [(level.price, level.quantity) for level in value]
        if field.name not in _OF_THE_RUN:
            told.append(value)
    return tuple(told)


def share(events: Sequence[Any], right: Sequence[tuple[Any, ...]]) -> float:
    """The part of the right events that is among these, each counted once and in its order."""
    told = [facts(event) for event in events]
    if told == list(right):
        return 1.0
    return sum(a == b for a, b in zip(told, right, strict=False)) / max(len(right), len(told))


def by_kind(events: Sequence[Any]) -> list[Any]:
    """Events in the order in which they were made, one kind after the other."""
    return sorted(events, key=lambda event: data_type_of(type(event)).value)


def floor(decoder: msgspec.json.Decoder[Any]) -> Prepare:
    decode = decoder.decode

    def prepare(reads: Sequence[list[bytes]]) -> Callable[[], int]:
        def work() -> int:
            events = 0
            for read in reads:
                for raw in read:
                    decode(raw)
                events += len(read)
            return events

        return work

    return prepare


def measure_case(case: ParseCase, count: int, rounds: int, python: str | None) -> Case:
    frames, source = frames_of(*case.market, case.marker, count, file=case.file, keep=case.keep)
    reads, messages = reads_of(frames), len(frames)
    build = case.build()
    right = [facts(e) for e in by_kind([e for f in frames for e in build(_json(f))])]
    ours = by_farm.events_of(*case.market, case.kinds, reads)
    delivered = share(by_kind(ours), right)
    work: dict[str, Callable[[], float]] = {}
    figures = {OBJECTS: Figure(OBJECTS, delivered=delivered)}

    def add(name: str, prepare: Prepare, part: float | None) -> None:
        figures[name] = Figure(name, delivered=part)
        work[name] = lambda: timed(prepare(reads))()

    add(OBJECTS, by_farm.as_objects(*case.market, case.kinds), delivered)
    if case.is_book:
        add(LEVELS, by_farm.with_level_objects(*case.market, case.kinds), delivered)
    elif case.columns is not None:
        add(COLUMNS, by_farm.as_columns(*case.market, case.kinds), delivered)
    add(JSON, by_json(case.build), 1.0)
    _add_orjson(case, frames, right, add, figures)
    with ExitStack() as stack:
        _add_cryptofeed(case, frames, right, python, stack, work, figures)
        add(FLOOR, floor(case.floor), None)
        for name, seconds in in_rounds(work, rounds).items():
            figures[name].values = [s / messages * 1e9 for s in seconds]
    size = sum(map(len, frames))
    for figure in figures.values():
        if figure.values:
            figure.extra["MB/s"] = size / (figure.median * messages) * 1e3
    note = f"{source}, {size / messages:.0f} bytes and {len(right) / messages:.2g} events a message"
    made = Case(case.name, "ns a message", list(figures.values()), note=note)
    _set_goals(made, case)
    return made


def _json(frame: bytes) -> Any:
    return msgspec.json.decode(frame)


def _add_orjson(
    case: ParseCase,
    frames: Sequence[bytes],
    right: Sequence[tuple[Any, ...]],
    add: Callable[..., None],
    figures: dict[str, Figure],
) -> None:
    try:
        made = by_orjson(case.name)
    except ImportError:
        figures[ORJSON] = Figure(ORJSON, absent="not installed: pip install collector-farm[bench]")
        return
    if made is None:
        figures[ORJSON] = Figure(ORJSON, absent="not written out for this one")
        return
    one, run = made
    add(ORJSON, run, share(by_kind([event for frame in frames for event in one(frame)]), right))


def _add_cryptofeed(
    case: ParseCase,
    frames: Sequence[bytes],
    right: Sequence[object],
    python: str | None,
    stack: ExitStack,
    work: dict[str, Callable[[], float]],
    figures: dict[str, Figure],
) -> None:
    if not case.channel:
        figures[CRYPTOFEED] = Figure(CRYPTOFEED, absent=case.why_not_cryptofeed)
    elif python is None:
        figures[CRYPTOFEED] = _no_cryptofeed()
    else:
        worker = stack.enter_context(working(python, _task(case, frames)))
        _, calls = worker.run()
        figures[CRYPTOFEED] = Figure(CRYPTOFEED, delivered=calls / len(right))
        work[CRYPTOFEED] = lambda: worker.run()[0]


def _no_cryptofeed() -> Figure:
    return Figure(CRYPTOFEED, absent="not installed: pip install collector-farm[peers]")


def _task(case: ParseCase | KeptBook, frames: Sequence[bytes]) -> dict[str, Any]:
    texts = [frame.decode() for frame in frames]
    names = {_symbol(text, case.market[0]) for text in texts}
    return {
        "venue": case.market[1].value,
        "channel": case.channel,
        "symbols": sorted(names),
        "frames": texts,
    }


def _symbol(text: str, exchange: Exchange) -> str:
    message = _json(text.encode())
    if exchange is Exchange.BYBIT:
        return str(message["topic"].rsplit(".", 1)[1])
    return str(message["stream"].split("@")[0].upper())


def _set_goals(made: Case, case: ParseCase) -> None:
    made.aim(OBJECTS, JSON, case.objects)
    if case.is_book:
        made.aim(LEVELS, JSON, 2.2)
    if case.columns is not None:
        made.aim(COLUMNS, JSON, case.columns)
    made.aim_time(OBJECTS, FLOOR, 2.5)
    if case.channel == "TRADES":
        made.aim(OBJECTS, CRYPTOFEED, 2.5)


def measure_book(book: KeptBook, count: int, rounds: int, python: str | None) -> Case:
    """A recorded book, parsed and kept from its snapshot on."""
    path = capture(book.file)
    exchange, market = book.market
    frames = [f for f in recorded_frames(path, market) if book.marker in f[:60]][:count]
    snapshots: list[tuple[Stream, bytes]] = []
    task = _task(book, frames)
    if exchange is Exchange.BINANCE:
        body = next(_snapshots(path))
        snapshots = [(rules_of(exchange, market).streams.stream("BTCUSDT", "book"), body)]
        task["snapshot"] = body.decode()
    reads = [frames[:1], *reads_of(frames[1:])]  # the first brings the stream up
    keep = by_farm.keeping_books(exchange, market, snapshots)
    last = _json(body)["lastUpdateId"] if snapshots else -1
    expected = sum(snapshots == [] or _json(f)["data"]["u"] > last for f in frames)
    figures = {KEPT: Figure(KEPT, delivered=keep(reads)() / expected)}
    work: dict[str, Callable[[], float]] = {KEPT: lambda: timed(keep(reads))()}
    with ExitStack() as stack:
        if python is None:
            figures[CRYPTOFEED] = _no_cryptofeed()
        else:
            worker: Worker = stack.enter_context(working(python, task))
            _, calls = worker.run()
            figures[CRYPTOFEED] = Figure(CRYPTOFEED, delivered=min(1.0, calls / expected))
            work[CRYPTOFEED] = lambda: worker.run()[0]
        for name, seconds in in_rounds(work, rounds).items():
            figures[name].values = [s / len(frames) * 1e9 for s in seconds]
    made = Case(book.name, "ns a message", list(figures.values()), note="recording")
    made.aim(KEPT, CRYPTOFEED, book.goal)
    return made


def _snapshots(path: Path) -> Iterator[bytes]:
    """The depth snapshots that stand in a log of frames."""
    return (
        record.text
        for record in islice(read_capture(path), 1000)
        if record.text.startswith(b'{"lastUpdateId"')
    )


def run(rounds: int, quick: bool) -> Report:
    """All cases; `quick` with few frames."""
    found = cryptofeeds()
    python, version = found[max(found)] if found else (None, "")  # the newest
    count = 400 if quick else 8_000
    cases = [measure_case(case, count, rounds, python) for case in CASES]
    cases += [
        measure_book(book, count, rounds, python)
        for book in KEPT_BOOKS
        if capture(book.file).is_file()
    ]
    report = Report("parse", "Parsing: payload bytes to normalised events", cases)
    if version:
        report.versions["cryptofeed"] = version
    return report


def main() -> None:
    command_line("parse", __doc__, run)


if __name__ == "__main__":
    main()
