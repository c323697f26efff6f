"""Reads recordings of raw exchange traffic, one record at a time, in time order.

Two formats are known, each as gzip or as plain text:

*Log* (``*.log.gz``): a line is ``<receive ns> <raw JSON frame>``. It holds one connection, which
gets the name ``log``; a bare object with ``lastUpdateId`` and without ``stream`` is the answer to
a REST depth request.

*Session* (``*.jsonl.gz``): the first line is a header, every other line a JSON object
``{"t": "http|connect|send|recv", "conn": …, "ts": float s, "url|addr": …, "data": "<raw text>"}``.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import parse_qs, urlsplit

import attrs

from farm.errors import RecordingError
from farm.types import Exchange, Market

__all__ = ["CaptureEvent", "CaptureRecord", "capture_market", "read_capture"]

LOG_CONNECTION = "log"


class CaptureEvent(Enum):
    """What a record of a recording is."""

    CONNECT = "connect"
    SENT = "send"
    RECEIVED = "recv"
    REPLY = "http"


@attrs.define
class CaptureRecord:
    """One recorded event.

    ``time``: nanoseconds since the epoch. ``connection``: the recorder's name of the socket.
    ``url``: the connection's address, for REPLY the requested URL, and ``""`` where the file does
    not say. ``text``: the exact bytes of the frame or of the HTTP body; empty for CONNECT.
    """

    time: int
    event: CaptureEvent
    connection: str
    url: str
    text: bytes


def read_capture(path: Path) -> Iterator[CaptureRecord]:
    """The records of a recording in time order; those of one connection keep their file order.

    A log streams in constant memory. A session file stores its connections one after the other,
    so putting them in order takes all of its records in memory.

    Raises:
        RecordingError: no such file, an empty file, an unknown format, a broken line, truncated
            or damaged gzip; the message names the file and the line.
    """
    lines = _lines(path)
    first = next(lines, None)
    if first is None:
        raise RecordingError(f"{path}: the recording is empty")
    number, line = first
    if line[:1].isdigit():
        yield _log_record(path, number, line)
        for number, line in lines:
            yield _log_record(path, number, line)
    elif line.startswith(b"{"):
        if _session_object(path, number, line).get("t") != "header":
            raise RecordingError(f"{path}:{number}: unknown format: no session header")
        yield from _in_time_order(_session_records(path, lines))
    else:
        raise RecordingError(f"{path}:{number}: unknown format: neither a log nor a session")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Numbered lines without their ends; blank lines are left out, but counted."""
    number = 0
    try:
        with _open(path) as file:
            for line in file:
                number += 1
                if stripped := line.strip():
                    yield number, stripped
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise RecordingError(f"{path}:{number + 1}: damaged gzip: {error}") from error
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror or error}") from error


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return cast("IO[bytes]", gzip.open(path, "rb")) if compressed else path.open("rb")


# --- log -----------------------------------------------------------------------------------------


def _log_record(path: Path, number: int, line: bytes) -> CaptureRecord:
    stamp, _, text = line.partition(b" ")
    if not stamp.isdigit() or text[:1] not in (b"{", b"[") or text[-1:] not in (b"}", b"]"):
        raise RecordingError(f"{path}:{number}: not '<receive ns> <JSON frame>'")
    event = CaptureEvent.REPLY if _is_depth_reply(text) else CaptureEvent.RECEIVED
    return CaptureRecord(int(stamp), event, LOG_CONNECTION, "", text)


def _is_depth_reply(text: bytes) -> bool:
    if text.startswith(b'{"stream"') or b'"lastUpdateId"' not in text:
        return False
    try:
        frame = json.loads(text)
    except ValueError:  # a malformed frame is still a frame that was received
        return False
    return isinstance(frame, dict) and "lastUpdateId" in frame and "stream" not in frame


# --- session -------------------------------------------------------------------------------------


def _session_object(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        # Times stay text: a float has no room for nanoseconds.
        parsed = json.loads(line, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise RecordingError(f"{path}:{number}: broken line: {error}") from error
    if not isinstance(parsed, dict):
        raise RecordingError(f"{path}:{number}: broken line: not an object")
    return parsed


def _session_records(path: Path, lines: Iterable[tuple[int, bytes]]) -> Iterator[CaptureRecord]:
    addresses: dict[str, str] = {}
    for number, line in lines:
        fields = _session_object(path, number, line)
        try:
            event = CaptureEvent(fields["t"])
            connection = fields["conn"]
            time = int(Decimal(fields["ts"]).scaleb(9))
            text = "" if event is CaptureEvent.CONNECT else fields["data"]
            if event is CaptureEvent.REPLY:
                url = fields["url"]
            else:
                url = addresses.setdefault(connection, fields.get("addr", ""))
            raw = text.encode()
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            reason = "not a number" if isinstance(error, InvalidOperation) else error
            raise RecordingError(
                f"{path}:{number}: broken line: {type(error).__name__}: {reason}"
            ) from error
        yield CaptureRecord(time, event, connection, url, raw)


def _in_time_order(records: Iterable[CaptureRecord]) -> list[CaptureRecord]:
    """Merges connections by time. A clock that steps back must not reorder a connection, so each
    record counts as no earlier than its predecessor on the same connection."""
    latest: dict[str, int] = {}
    keyed: list[tuple[int, CaptureRecord]] = []
    for record in records:
        due = max(record.time, latest.get(record.connection, record.time))
        latest[record.connection] = due
        keyed.append((due, record))
    keyed.sort(key=lambda item: item[0])
    return [record for _, record in keyed]


# --- addresses -----------------------------------------------------------------------------------

_BINANCE_HOSTS = (
    (re.compile(r"(stream|api|api-gcp|api[1-4])\.binance\.com"), Market.SPOT),
    (re.compile(r"data-(stream|api)\.binance\.vision"), Market.SPOT),
    (re.compile(r"(fstream|fapi)\.binance\.com"), Market.USDM),
    (re.compile(r"(dstream|dapi)\.binance\.com"), Market.COINM),
)
_BYBIT_MARKETS = {
    market.value: market for market in (Market.SPOT, Market.LINEAR, Market.INVERSE, Market.OPTION)
}


def capture_market(url: str) -> tuple[Exchange, Market] | None:
    """The market behind an address, or None where the address does not name one.

    Hosts as in the venues' documentation: Binance has a host for each market, Bybit a path
    (``/v5/public/linear``) on its stream host and a ``category`` on its REST host.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return None
    for pattern, market in _BINANCE_HOSTS:
        if pattern.fullmatch(host):
            return Exchange.BINANCE, market
    name = ""
    if host in {"stream.bybit.com", "stream-testnet.bybit.com"}:
        name = parts.path.removeprefix("/v5/public/").strip("/")
    elif host in {"api.bybit.com", "api-testnet.bybit.com"}:
        name = parse_qs(parts.query).get("category", [""])[0]
    return (Exchange.BYBIT, _BYBIT_MARKETS[name]) if name in _BYBIT_MARKETS else None
