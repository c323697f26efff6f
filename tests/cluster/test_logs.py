"""What a shard logs, on its way into the logging of its parent."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.cluster.logs import LINE_LIMIT, JsonLines, LogGatherer

CLUSTER = "farm.cluster"


class Pipe:
    """Its reader reads when told to."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)

    def read(self) -> bytes:
        data = b""
        while True:
            try:
                piece = os.read(self.read_end, 1 << 20)
            except BlockingIOError:
                return data
            if not piece:
                return data
            data += piece

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.read().splitlines()]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    os.close(made.read_end)
    os.close(made.write_end)


@contextmanager
def logging_to(fd: int) -> Iterator[tuple[logging.Logger, JsonLines]]:
    """A logger that is nobody else's."""
    logger, handler = logging.Logger("farm.shard"), JsonLines(fd)
    logger.addHandler(handler)
    try:
        yield logger, handler
    finally:
        handler.close()


# The shard's side --------------------------------------------------------------------------------


def test_a_record_is_a_line(pipe: Pipe) -> None:
    with logging_to(pipe.write_end) as (logger, _):
        logger.warning("%d of %s", 3, "four\nlines")
    (line,) = pipe.lines()
    assert isinstance(line.pop("time"), float)
    assert line == {
        "level": logging.WARNING,
        "logger": "farm.shard",
        "message": "3 of four\nlines",
        "exc": None,
    }


def test_an_error_comes_with_its_traceback(pipe: Pipe) -> None:
    with logging_to(pipe.write_end) as (logger, _):
        try:
            raise ValueError("no such thing")
        except ValueError:
            logger.exception("failed")
    (line,) = pipe.lines()
    exc = str(line["exc"])
    assert exc.startswith("Traceback")
    assert exc.endswith("ValueError: no such thing")


class Untellable:
    def __str__(self) -> str:
        raise RuntimeError("not now")


def test_a_record_that_cannot_be_told_raises_nothing(pipe: Pipe) -> None:
    with logging_to(pipe.write_end) as (logger, _):
        logger.warning("%d", "x")
        logger.warning("about %s", Untellable())
        logger.warning(Untellable())
        logger.warning("file \udcff")
    *untold, told = [str(line["message"]) for line in pipe.lines()]
    assert [text.split(" could not be told: ")[1] for text in untold] == [
        "TypeError",
        "RuntimeError",
        "RuntimeError",
    ]
    assert all(text.startswith("a record from test_logs.py:") for text in untold)
    assert told == "file \\udcff"


@pytest.mark.parametrize("character", ["x", "é", "\U0001f600", "\x00", '"'])
def test_a_long_record_is_cut_and_still_a_line(pipe: Pipe, character: str) -> None:
    with logging_to(pipe.write_end) as (logger, _):
        texts = {"msg": character * 99_999, "exc_text": "y" * 99_999 + "z"}
        logger.handle(logging.makeLogRecord({"levelno": logging.INFO, **texts}))
    data = pipe.read()
    assert len(data) <= LINE_LIMIT
    line = json.loads(data)
    assert set(line["message"]) == {character}
    assert line["exc"].endswith("yz")


def test_a_reader_that_does_not_read_holds_up_nothing(pipe: Pipe) -> None:
    with logging_to(pipe.write_end) as (logger, handler):
        for number in range(2000):
            logger.info("%d %s", number, "x" * 5000)  # more than a pipe takes at once
        assert handler.dropped > 0
        taken = 2000 - handler.dropped
        data = pipe.read()
        logger.info("again")
        data += pipe.read()
        logger.info("and again")
        data += pipe.read()
    lines = [json.loads(line) for line in data.splitlines()]
    assert [line["message"].split()[0] for line in lines[:taken]] == list(map(str, range(taken)))
    assert [(line["level"], line["message"]) for line in lines[taken:]] == [
        (logging.WARNING, f"{2000 - taken} log records were dropped: the parent did not read"),
        (logging.INFO, "again"),
        (logging.INFO, "and again"),
    ]


def test_at_the_end_it_tells_what_was_dropped(pipe: Pipe) -> None:
    with logging_to(pipe.write_end) as (logger, handler):
        for _ in range(2000):
            logger.info("x" * 1000)
        data = pipe.read()
    *_, last = (data + pipe.read()).splitlines()
    assert json.loads(last)["message"].startswith(f"{handler.dropped} log records were dropped")


def test_threads_that_log_at_the_same_time_make_whole_lines(pipe: Pipe) -> None:
    read = bytearray()
    done = threading.Event()

    def gather() -> None:
        while not done.is_set():
            read.extend(pipe.read())
        read.extend(pipe.read())

    def tell(thread: int) -> None:
        for number in range(300):
            logger.info("%d %d %s", thread, number, "x" * 5000)

    with logging_to(pipe.write_end) as (logger, handler):
        reader = threading.Thread(target=gather)
        writers = [threading.Thread(target=tell, args=(thread,)) for thread in range(4)]
        for thread in (reader, *writers):
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        reader.join()
    read.extend(pipe.read())
    messages = [json.loads(line)["message"] for line in read.splitlines()]
    told = [message for message in messages if message.endswith("x")]
    assert len(told) == 1200 - handler.dropped
    for thread in range(4):
        numbers = [int(text.split()[1]) for text in told if text.startswith(f"{thread} ")]
        assert numbers == sorted(numbers)


def test_a_reader_that_is_gone_ends_nothing() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with logging_to(write_end) as (logger, _):
        for _ in range(3):
            logger.info("x" * 10_000)
    os.close(write_end)


def test_all_of_a_process_goes_to_its_parent() -> None:
    code = (
        "import logging, warnings\n"
        "from farm.cluster.logs import log_to_parent\n"
        "logging.basicConfig()\n"
        "log_to_parent(logging.WARNING)\n"
        "logging.getLogger('a').warning('one')\n"
        "logging.getLogger('b').info('not this')\n"
        "warnings.warn('two')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, timeout=60, check=True
    )
    first, second = map(json.loads, result.stderr.splitlines())
    assert (first["logger"], first["message"]) == ("a", "one")
    assert second["logger"] == "py.warnings"
    assert "UserWarning: two" in second["message"]


# The parent's side -------------------------------------------------------------------------------


def line_of(message: str, level: int = logging.INFO, exc: str | None = None) -> bytes:
    fields = {"time": 1.25, "level": level, "logger": "farm.sink", "message": message, "exc": exc}
    return json.dumps(fields).encode() + b"\n"


@pytest.fixture
def gatherer(caplog: pytest.LogCaptureFixture) -> LogGatherer:
    caplog.set_level(logging.DEBUG)
    return LogGatherer("shard 1")


def test_a_line_becomes_a_record_of_its_logger(
    gatherer: LogGatherer, caplog: pytest.LogCaptureFixture
) -> None:
    gatherer.feed(line_of("50 % {done}", logging.WARNING, "Traceback\nValueError: x"))
    (record,) = caplog.records
    assert (record.name, record.levelno, record.levelname) == ("farm.sink", 30, "WARNING")
    assert record.getMessage() == "shard 1: 50 % {done}"
    assert vars(record)["shard"] == "shard 1"
    assert (record.created, record.msecs) == (1.25, 250)
    assert logging.Formatter().format(record).endswith("done}\nTraceback\nValueError: x")


def test_a_level_that_is_not_wanted_is_not_told(
    gatherer: LogGatherer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "farm.sink")
    caplog.handler.setLevel(logging.DEBUG)  # which was set, too
    gatherer.feed(line_of("quiet"))
    assert not caplog.records
    assert list(gatherer.last_lines) == ["INFO farm.sink: quiet"]


def test_what_is_no_record_is_one_error_a_block(
    gatherer: LogGatherer, caplog: pytest.LogCaptureFixture
) -> None:
    gatherer.feed(b"\n\nTraceback:\n  File x\n\nValueError: \xff\n" + line_of("on"))
    gatherer.feed(b'{"time": 1}\n{"no json\n')
    assert gatherer.pending
    gatherer.pause()
    assert not gatherer.pending
    gatherer.feed(b"with no end")
    gatherer.end()
    gatherer.end()
    assert caplog.record_tuples == [
        (CLUSTER, 40, "shard 1: Traceback:\n  File x\n\nValueError: \ufffd"),
        ("farm.sink", 20, "shard 1: on"),
        (CLUSTER, 40, 'shard 1: {"time": 1}\n{"no json'),
        (CLUSTER, 40, "shard 1: with no end"),
    ]


def test_blocks_are_bounded(gatherer: LogGatherer, caplog: pytest.LogCaptureFixture) -> None:
    gatherer.feed(b"line\n" * 450)
    gatherer.end()
    assert [len(record.message.splitlines()) for record in caplog.records] == [200, 200, 50]


def test_a_line_without_end_is_cut(gatherer: LogGatherer, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(100):
        gatherer.feed(b"x" * 10_000)
    gatherer.feed(b"\nnext\n")
    gatherer.end()
    (record,) = caplog.records
    assert record.message == f"shard 1: {'x' * LINE_LIMIT}\nnext"


def test_the_last_lines_are_kept(gatherer: LogGatherer) -> None:
    gatherer.feed(b"".join(line_of(str(number)) for number in range(30)))
    gatherer.feed(line_of("failed", logging.ERROR, "Traceback\nValueError: x") + b"the end\n")
    lines = list(gatherer.last_lines)
    assert len(lines) == 20
    assert lines[-5:] == [
        "INFO farm.sink: 29",
        "ERROR farm.sink: failed",
        "Traceback",
        "ValueError: x",
        "the end",
    ]


def test_the_last_words_are_those_of_an_error(gatherer: LogGatherer) -> None:
    assert gatherer.last_words == ""
    gatherer.feed(line_of("memory limit passed", logging.ERROR) + line_of("drained"))
    assert gatherer.last_words == "memory limit passed"
    gatherer.feed(line_of("failed", logging.CRITICAL, "Traceback\nValueError: x"))
    assert gatherer.last_words == "failed (ValueError: x)"
    gatherer.feed(b"Killed\n\n")
    assert gatherer.last_words == "Killed"
    gatherer.feed(b"y" * 5000 + b"\n")
    assert gatherer.last_words == "y" * 300


@given(
    pieces=st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from([b"\n", b'{"time"', line_of("whole"), line_of("two") * 2]),
        ),
        max_size=20,
    ),
    cuts=st.lists(st.integers(0, 2000), max_size=10),
)
def test_where_reads_are_cut_makes_no_difference(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    places = [0, *sorted(min(place, len(data)) for place in cuts), len(data)]
    parts = [data[start:end] for start, end in pairwise(places)]
    assert heard(parts) == heard([data])


def heard(parts: list[bytes]) -> tuple[list[str], list[str], str]:
    """What was logged, and what was kept."""
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(f"{record.name} {record.getMessage()}")  # type: ignore[method-assign]
    logger = logging.getLogger("farm")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        gatherer = LogGatherer("shard 1")
        for part in parts:
            gatherer.feed(part)
        gatherer.end()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    return records, list(gatherer.last_lines), gatherer.last_words
