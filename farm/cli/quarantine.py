"""``farm quarantine``: what farm could not digest, and a second try after a mend."""

from __future__ import annotations

import json
import sys
import traceback as tracebacks
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from farm.cli.exits import FAILED, usage
from farm.cli.options import AsJson
from farm.errors import RecordingError
from farm.storage.directory import number_mode, open_data_directory
from farm.storage.quarantine import QUARANTINE, quarantine_files
from farm.storage.quarantine_file import Header, read_header
from farm.storage.requeue import Replayed, only_one_replay, replay_file
from farm.storage.unparsed import count_unparsed, unparsed_files
from farm.types import Nanoseconds, NumberMode

__all__ = ["quarantine"]


def quarantine(
    directory: Path,
    files: tuple[str, ...] = (),
    /,
    *,
    traceback: Annotated[
        bool, Parameter(negative=(), help="Show the tracebacks of the crashes, too.")
    ] = False,
    replay: Annotated[
        bool, Parameter(negative=(), help="Try the items again, and store what they give.")
    ] = False,
    into: Annotated[
        Path | None, Parameter(help="Store that in this data directory instead.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """List what a data directory keeps aside: items on which farm crashed twice, and the frames
    that it could not parse, summed up. FILES, as the list names them, are the items that are meant
    (default: all)."""
    numbers = number_mode(directory)
    if into is not None and not replay:
        return usage("--into goes together with --replay")
    found = {f"{path.parent.name}/{path.name}": path for path in quarantine_files(directory)}
    unknown = [name for name in files if name not in found]
    if unknown:
        return usage(f"{directory / QUARANTINE} has no {', '.join(unknown)}")
    chosen = {name: path for name, path in found.items() if name in files or not files}
    if replay:
        outcomes = _replayed(directory, into or directory, numbers, chosen)
        return _tell_replayed(directory, into or directory, outcomes, traceback, as_json)
    return _list(directory, chosen, traceback, as_json, with_unparsed=not files)


# --- listing -------------------------------------------------------------------------------------


def _list(
    directory: Path, files: dict[str, Path], traceback: bool, as_json: bool, *, with_unparsed: bool
) -> int:
    errors: list[str] = []
    items = {}
    for name, path in files.items():
        try:
            items[name] = read_header(path)
        except RecordingError as error:
            errors.append(str(error))
    unparsed = _unparsed(directory, errors) if with_unparsed else Counter()
    if as_json:
        answer = {
            "directory": str(directory),
            "quarantine": [_item(name, header, traceback) for name, header in items.items()],
            "unparsed": [
                {"market": market, "kind": kind, "reason": reason, "count": count}
                for (market, kind, reason), count in unparsed.most_common()
            ],
            "errors": errors,
        }
        print(json.dumps(answer, indent=2))
    else:
        _print_items(items, traceback)
        if with_unparsed:
            _print_unparsed(unparsed)
        _complain(errors)
    return FAILED if errors else 0


def _unparsed(directory: Path, errors: list[str]) -> Counter[tuple[str, str, str]]:
    counts: Counter[tuple[str, str, str]] = Counter()
    for path in unparsed_files(directory):
        try:
            counts += count_unparsed(path)
        except RecordingError as error:
            errors.append(str(error))
    return counts


def _item(name: str, header: Header, traceback: bool) -> dict[str, Any]:
    fields = {
        "file": name,
        "time": _utc(header.time),
        "market": _market(header),
        "connection": header.connection,
        "epoch": header.epoch,
        "serial": header.serial,
        "mailbox": header.mailbox,
        "actor": header.actor,
        "what": header.what,
        "error": header.error,
        "farm": header.farm,
    }
    return fields | ({"tracebacks": header.tracebacks} if traceback else {})


def _print_items(items: dict[str, Header], traceback: bool) -> None:
    print(f"{len(items)} items that crashed an actor twice")
    rows = [
        (_utc(header.time), _market(header), header.mailbox, header.what, header.error, name)
        for name, header in items.items()
    ]
    lines = _aligned(rows)
    for line, header in zip(lines, items.values(), strict=True):
        print(line)
        for number, text in enumerate(header.tracebacks if traceback else (), 1):
            print(f"    crash {number} of {header.actor}:")
            print("".join(f"      {part}\n" for part in text.splitlines()), end="")


def _print_unparsed(counts: Counter[tuple[str, str, str]]) -> None:
    print(f"{counts.total():,} frames were not parsed")
    rows = [(f"{count:,}", *cause) for cause, count in counts.most_common()]
    for line in _aligned(rows):
        print(line)


# --- replay --------------------------------------------------------------------------------------


def _replayed(
    directory: Path, into: Path, numbers: NumberMode, files: dict[str, Path]
) -> dict[str, Replayed]:
    if not files:
        return {}
    with only_one_replay(directory), open_data_directory(into, numbers) as target:
        return {name: replay_file(path, target) for name, path in files.items()}


def _tell_replayed(
    directory: Path, into: Path, outcomes: dict[str, Replayed], traceback: bool, as_json: bool
) -> int:
    failed = {name: done.error for name, done in outcomes.items() if done.error is not None}
    good = {name: done for name, done in outcomes.items() if done.error is None}
    if as_json:
        answer = {
            "directory": str(directory),
            "into": str(into),
            "replayed": [
                {"file": name, "rows": done.rows, "unparsed": done.unparsed}
                for name, done in good.items()
            ],
            "failed": [
                {"file": name, "error": _text(error)}
                | ({"traceback": _trace(error)} if traceback else {})
                for name, error in failed.items()
            ],
        }
        print(json.dumps(answer, indent=2))
        return FAILED if failed else 0
    rows = sum(done.rows for done in good.values())
    unparsed = sum(done.unparsed for done in good.values())
    print(f"{len(good)} of {len(outcomes)} items went through: {rows:,} rows stored in {into}")
    if unparsed:
        print(f"{unparsed:,} frames of them could not be parsed, and are kept as such")
    _complain(
        f"{name}: {_trace(error) if traceback else _text(error)}" for name, error in failed.items()
    )
    return FAILED if failed else 0


# --- text ----------------------------------------------------------------------------------------


def _market(header: Header) -> str:
    return f"{header.exchange.value}/{header.market.value}"


def _utc(time: Nanoseconds) -> str:
    moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=time // 1000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _text(error: Exception) -> str:
    if isinstance(error, RecordingError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _trace(error: Exception) -> str:
    return "".join(tracebacks.format_exception(error)).rstrip()


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield ("  " + "  ".join(cells)).rstrip()


def _complain(errors: Iterable[str]) -> None:
    for error in errors:
        print(f"farm: {error}", file=sys.stderr)
