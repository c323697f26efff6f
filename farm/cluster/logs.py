"""The logs of a shard: lines of JSON on its stderr, records in the ``logging`` of its parent.

A shard's line never waits: while the parent does not read and the pipe is full, records are
counted, and the count is told once there is room. What else comes out of the child (a traceback of
the interpreter, a C library's cry) is told as one error for each block of lines.
"""

from __future__ import annotations

import logging
import os
import select
import time
from collections import deque

import msgspec

__all__ = ["LINE_LIMIT", "JsonLines", "LogGatherer", "log_to_parent"]

LINE_LIMIT = 64 << 10
"""Bytes of a line; what is longer is cut."""

BLOCK_LIMIT = 200  # lines of one error record
LINES_KEPT = 20
WORDS_LIMIT = 300  # characters of a process's last words
_CUT = LINE_LIMIT // 16  # characters of either text: six bytes each at worst, in a line with both

log = logging.getLogger("farm.cluster")


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """A record on its way. ``time`` is in seconds since the epoch, ``level`` a number of
    ``logging``, ``exc`` the traceback."""

    time: float
    level: int
    logger: str
    message: str
    exc: str | None = None


_decoder = msgspec.json.Decoder(_Line)
_formatter = logging.Formatter()


# The shard's side ---------------------------------------------------------------------------------


class JsonLines(logging.Handler):
    """Writes records as lines of JSON to a pipe, and never waits for its reader.

    ``dropped`` counts the records for which there was no room.
    """

    def __init__(self, fd: int) -> None:
        super().__init__()
        self.dropped = 0
        self._told = 0  # of the dropped
        self._rest = b""  # of what was begun
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or count it."""
        self._push()
        if self._rest:
            self.dropped += 1
            return
        self._rest = self._note() + _encode(record)
        self._push()

    def close(self) -> None:
        """Tell what was dropped, if there is room by now."""
        self.acquire()
        try:
            self._rest += self._note()
            self._push()
        finally:
            self.release()
        super().close()

    def _note(self) -> bytes:
        if self.dropped == self._told:
            return b""
        text = f"{self.dropped - self._told} log records were dropped: the parent did not read"
        self._told = self.dropped
        return _as_line(_Line(time.time(), logging.WARNING, log.name, text))

    def _push(self) -> None:
        # A pipe that is ready takes PIPE_BUF bytes without blocking. The descriptor itself stays
        # blocking: it is also that of print and of the interpreter.
        while self._rest and self._poll.poll(0):
            try:
                written = os.write(self._fd, self._rest[: select.PIPE_BUF])
            except OSError:
                self._rest = b""  # the parent is gone: the lifeline sees to that
            else:
                self._rest = self._rest[written:]


def log_to_parent(level: int = logging.INFO, fd: int = 2) -> JsonLines:
    """Send all that this process logs at `level` or above, warnings of Python included, to its
    parent, and nowhere else."""
    handler = JsonLines(fd)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    return handler


def _encode(record: logging.LogRecord) -> bytes:
    try:
        message = record.getMessage()
    except Exception as error:  # noqa: BLE001 (arguments of anybody's; logging never raises)
        place = f"{record.filename}:{record.lineno}"
        message = f"a record from {place} could not be told: {type(error).__name__}"
    exc = record.exc_text
    if exc is None and record.exc_info:
        exc = _formatter.formatException(record.exc_info)
    return _as_line(_Line(record.created, record.levelno, record.name, message, exc))


def _as_line(line: _Line) -> bytes:
    line.message = _in_utf8(line.message)
    line.exc = line.exc and _in_utf8(line.exc)
    encoded = msgspec.json.encode(line)
    if len(encoded) >= LINE_LIMIT:
        line.message = line.message[:_CUT]
        line.exc = line.exc and line.exc[-_CUT:]  # its end says what went wrong
        encoded = msgspec.json.encode(line)
    return encoded + b"\n"


def _in_utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()  # a name of a file may be no text


# The parent's side --------------------------------------------------------------------------------


class LogGatherer:
    """Makes records of this process of what the shard `name` writes. No I/O.

    A record keeps its logger, level and time; its message begins with the shard's name, which is
    also its attribute ``shard``. ``last_lines`` are the last that were heard, the oldest first.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.last_lines: deque[str] = deque(maxlen=LINES_KEPT)
        self.last_words = ""  # the last line that tells of an error
        self._begun = bytearray()  # a line without its end
        self._block: list[str] = []

    @property
    def pending(self) -> bool:
        """Whether lines wait for others of their block; see :meth:`pause`."""
        return bool(self._block)

    def feed(self, data: bytes) -> None:
        """What was read next."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._extend(end)
            self._take_line()
        self._extend(rest)

    def pause(self) -> None:
        """Nothing was read for a while: what was read last is a whole block."""
        if self._block:
            _tell(self.name, log.name, logging.ERROR, "\n".join(self._block))
            self._block.clear()

    def end(self) -> None:
        """Nothing more is to come."""
        if self._begun:
            self._take_line()
        self.pause()

    def _extend(self, piece: bytes) -> None:
        self._begun += piece[: LINE_LIMIT - len(self._begun)]

    def _take_line(self) -> None:
        line = bytes(self._begun)
        self._begun.clear()
        try:
            record = _decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._take_text(line.decode("utf-8", "replace").rstrip())
        else:
            self.pause()
            self._take_record(record)

    def _take_text(self, text: str) -> None:
        if text:
            self.last_lines.append(text)
            self.last_words = text[:WORDS_LIMIT]
        elif not self._block:
            return
        self._block.append(text)
        if len(self._block) == BLOCK_LIMIT:
            self.pause()

    def _take_record(self, line: _Line) -> None:
        lines = [f"{logging.getLevelName(line.level)} {line.logger}: {line.message}"]
        words = line.message
        if line.exc:
            lines += line.exc.splitlines()
            words = f"{line.message} ({lines[-1]})"
        self.last_lines.extend(lines)
        if line.level >= logging.ERROR:
            self.last_words = words[:WORDS_LIMIT]
        _tell(self.name, line.logger, line.level, line.message, exc=line.exc, created=line.time)


def _tell(
    shard: str,
    logger_name: str,
    level: int,
    message: str,
    *,
    exc: str | None = None,
    created: float | None = None,
) -> None:
    logger = logging.getLogger(logger_name)
    if not logger.isEnabledFor(level):
        return
    record = logging.makeLogRecord(
        {
            "name": logger_name,
            "levelno": level,
            "levelname": logging.getLevelName(level),
            "msg": f"{shard}: {message}",
            "exc_text": exc,
            "shard": shard,
        }
    )
    if created is not None:
        record.created = created
        record.msecs = created % 1 * 1000
    logger.handle(record)
