"""The file of one quarantined item: JSON lines from which the item can be made again.

The first line is the :class:`Header`: where the item was, and what crashed on it. Of an input the
second line holds its fields and each further one a frame, or the body of an answer, as it came: its
text where ``encoding`` is ``utf-8``, else its bytes in base64. Of a bundle the second line holds
its fields and each further one a batch: msgpack in base64.

What is not here: the unparsed frames of a bundle, which are kept as such elsewhere.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias, get_args

import attrs
import msgspec

from farm.batch import Batch, Origin
from farm.bundle import Bundle
from farm.errors import RecordingError
from farm.exchanges.registry import MARKETS
from farm.exchanges.session import Frames, Input, Lost, SnapshotReply
from farm.exchanges.streams import Stream
from farm.storage.raw_text import as_unicode, decode_raw, encode_raw
from farm.types import Exchange, Market, Nanoseconds, NumberMode

__all__ = ["FORMAT_VERSION", "Header", "KeptItem", "file_lines", "read_header", "read_item"]

FORMAT_VERSION = 1
BUNDLE = "Bundle"

_INPUTS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Input)}

Fields: TypeAlias = dict[str, int | float | bool | str | list[str] | None]


@attrs.frozen
class KeptItem:
    """An item on which its reader crashed twice: an input or a bundle, and where it was from.

    ``microseconds``: the venue was asked for such times.
    """

    item: Input | Bundle
    origin: Origin
    mailbox: str
    actor: str
    tracebacks: tuple[str, ...]
    microseconds: bool = False

    @property
    def time(self) -> Nanoseconds:
        """When it was received."""
        if isinstance(self.item, Bundle):
            return self.item.receive_time
        return self.item.end if isinstance(self.item, Lost) else self.item.time


class Header(msgspec.Struct, kw_only=True):
    """What the first line says. ``time`` is when the item was received (ns, UTC), ``what`` the name
    of its class, ``parts`` how many frames or batches follow, ``error`` the last line of the last
    traceback."""

    format: int
    farm: str
    time: Nanoseconds
    mailbox: str
    actor: str
    exchange: Exchange
    market: Market
    connection: str
    epoch: int
    serial: int
    what: str
    numbers: NumberMode
    microseconds: bool
    parts: int
    error: str
    tracebacks: list[str]

    @property
    def origin(self) -> Origin:
        """The connection that it came from."""
        return Origin(self.exchange, self.market, self.connection, self.epoch)


class _Raw(msgspec.Struct):
    encoding: str
    raw: str


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    batch: str


class _BundleFields(msgspec.Struct):
    nbytes: int
    ended: str | None
    up: tuple[str, ...]
    down: list[str] | None
    asked: tuple[str, ...]
    dropped: tuple[str, ...]
    final: bool


# --- writing -------------------------------------------------------------------------------------


def file_lines(kept: KeptItem, numbers: NumberMode) -> Iterator[bytes]:
    """The file of an item, line by line."""
    origin, item = kept.origin, kept.item
    last = kept.tracebacks[-1].strip() if kept.tracebacks else ""
    lines = list(_bundle_lines(item) if isinstance(item, Bundle) else _input_lines(item))
    header = Header(
        format=FORMAT_VERSION,
        farm=_version(),
        time=kept.time,
        mailbox=kept.mailbox,
        actor=kept.actor,
        exchange=origin.exchange,
        market=origin.market,
        connection=origin.connection,
        epoch=item.origin.epoch if isinstance(item, Bundle) else item.epoch,
        serial=item.serial,
        what=type(item).__name__,
        numbers=numbers,
        microseconds=kept.microseconds,
        parts=len(lines) - 1,
        error=as_unicode(last.rpartition("\n")[2]),
        tracebacks=[as_unicode(text) for text in kept.tracebacks],
    )
    yield _line(header)
    yield from lines


def _bundle_lines(bundle: Bundle) -> Iterator[bytes]:
    yield _line(
        _BundleFields(
            nbytes=bundle.nbytes,
            ended=None if bundle.ended is None else as_unicode(bundle.ended),
            up=bundle.up,
            down=None if bundle.down is None else sorted(bundle.down),
            asked=bundle.asked,
            dropped=bundle.dropped,
            final=bundle.final,
        )
    )
    for batch in bundle.batches:
        yield _batch_line(batch)


def _batch_line(batch: Batch[Any]) -> bytes:
    """A batch; of one that holds what msgpack can't, which may be why it crashed, its text."""
    try:
        return _line(_Batch(base64.b64encode(batch.to_msgpack()).decode()))
    except (OverflowError, TypeError, ValueError) as error:
        return _line({"unencodable": as_unicode(str(error)), "rows": as_unicode(repr(batch.rows))})


def _input_lines(item: Input) -> Iterator[bytes]:
    fields: dict[str, Any] = {
        field.name: getattr(item, field.name) for field in attrs.fields(type(item))
    }
    raws: Sequence[bytes] = ()
    if isinstance(item, Frames):
        raws = fields.pop("frames")
    elif isinstance(item, SnapshotReply):
        raws = [fields.pop("body")]
    for name, value in fields.items():
        if isinstance(value, Stream):
            fields[name] = value.name
        elif isinstance(value, list):
            fields[name] = [stream.name for stream in value]
        elif isinstance(value, str):
            fields[name] = as_unicode(value)
    yield _line(fields)
    for raw in raws:
        text, encoding = encode_raw(raw)
        yield _line(_Raw(encoding, text))


def _line(value: Any) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def _version() -> str:
    try:
        return version("collector-farm")
    except PackageNotFoundError:  # run from its sources
        return "unknown"


# --- reading -------------------------------------------------------------------------------------


def read_header(path: Path) -> Header:
    """The header of a file. RecordingError, which names file and line, where it is none of ours."""
    return _header(path, next(_lines(path)))


def read_item(path: Path) -> Input | Bundle:
    """The item of a file. RecordingError, which names file and line, where it is damaged."""
    lines = _lines(path)
    header = _header(path, next(lines))
    number, rest = 2, list(lines)
    try:
        if len(rest) != 1 + header.parts:
            number += len(rest)
            raise ValueError(f"the file is cut short: {1 + header.parts} lines should follow")
        fields, parts = rest[0], []
        for part in rest[1:]:
            number += 1
            parts.append(_part(header, part))
        number = 2
        make = _bundle if header.what == BUNDLE else _input
        return make(header, fields, parts)
    except (ValueError, TypeError, KeyError) as error:  # also what msgspec raises
        raise RecordingError(f"{path}:{number}: {error}") from error


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield file.readline()
            yield from file
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror or error}") from error


def _header(path: Path, line: bytes) -> Header:
    try:
        header = msgspec.json.decode(line, type=Header)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RecordingError(f"{path}:1: not the header of a quarantined item: {error}") from error
    if header.format != FORMAT_VERSION:
        raise RecordingError(
            f"{path}:1: written in format {header.format}; this farm reads {FORMAT_VERSION}"
        )
    if header.what != BUNDLE and header.what not in _INPUTS:
        raise RecordingError(f"{path}:1: an item of a kind that is unknown here: {header.what}")
    return header


def _part(header: Header, line: bytes) -> Any:
    """A batch of a bundle, or the bytes of a frame."""
    if header.what == BUNDLE:
        text = msgspec.json.decode(line, type=_Batch).batch
        try:
            return Batch.from_msgpack(base64.b64decode(text, validate=True))
        except binascii.Error as error:
            raise ValueError(f"broken base64: {error}") from None
    raw = msgspec.json.decode(line, type=_Raw)
    return decode_raw(raw.raw, raw.encoding)


def _bundle(header: Header, line: bytes, batches: list[Batch[Any]]) -> Bundle:
    fields = msgspec.json.decode(line, type=_BundleFields)
    return Bundle(
        header.origin,
        header.serial,
        header.time,
        batches,
        ended=fields.ended,
        nbytes=fields.nbytes,
        up=fields.up,
        down=None if fields.down is None else frozenset(fields.down),
        asked=fields.asked,
        dropped=fields.dropped,
        final=fields.final,
    )


def _input(header: Header, line: bytes, raws: list[bytes]) -> Input:
    fields: dict[str, Any] = dict(msgspec.json.decode(line, type=Fields))
    if header.what == Frames.__name__:
        fields["frames"] = raws
    elif header.what == SnapshotReply.__name__:
        (fields["body"],) = raws
    if "stream" in fields:
        fields["stream"] = _stream(header, fields["stream"])
    if "streams" in fields:
        fields["streams"] = [_stream(header, name) for name in fields["streams"]]
    item: Input = _INPUTS[header.what](**fields)
    return item


def _stream(header: Header, name: str) -> Stream:
    rules = MARKETS.get((header.exchange, header.market))
    stream = None if rules is None else rules.streams.recognise(name)
    if stream is None:
        raise ValueError(f"a stream that is unknown here: {name!r}")
    return stream
