"""The file of a quarantined item: every kind of item there and back, and damage of any kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.batch import Origin
from farm.bundle import Bundle
from farm.errors import RecordingError
from farm.exchanges.registry import MARKETS
from farm.exchanges.session import (
    Closed,
    Finished,
    Frames,
    Input,
    Lost,
    Opened,
    SnapshotAsked,
    SnapshotReply,
    Subscribe,
    Tick,
    Unsubscribe,
)
from farm.exchanges.streams import Stream
from farm.storage.quarantine_file import KeptItem, file_lines, read_header, read_item
from farm.types import Exchange, Market, NumberMode
from tests.effort import runs
from tests.storage.events import NOON, ORIGIN, trades
from tests.strategies import batches

RULES = MARKETS[Exchange.BINANCE, Market.SPOT]
BOOK, TRADE = (RULES.streams.stream("BTCUSDT", spec) for spec in ("book", "trade"))

INPUTS: list[Input] = [
    Opened(1, NOON, 1.5, serial=1),
    Frames(1, NOON, 3, [b"{}", b"\x80", b"", b'{"a":"\xe5\xb8\x81\xe2\x80\xa8\\n"}'], 9, serial=2),
    SnapshotReply(1, NOON, 4, BOOK, b'{"lastUpdateId":1}', 18, serial=3),
    SnapshotAsked(1, NOON, BOOK, serial=4),
    Subscribe(NOON, [BOOK, TRADE], serial=5),
    Unsubscribe(NOON, [TRADE], serial=6),
    Tick(1, NOON, 2.5, serial=7),
    Closed(1, NOON, "gone", True, serial=8),
    Lost(1, 3, NOON - 5, NOON, "connection>parser", False, serial=9),
    Finished(NOON),
]


def kept(item: Input | Bundle, origin: Origin = ORIGIN) -> KeptItem:
    return KeptItem(item, origin, "m", "a", ("Traceback\nValueError: \ud800 bad\n",))


def written(path: Path, item: Input | Bundle, origin: Origin = ORIGIN) -> Path:
    path.write_bytes(b"".join(file_lines(kept(item, origin), NumberMode.FLOAT)))
    return path


def test_every_kind_of_input_is_tried() -> None:
    assert {type(item) for item in INPUTS} == set(get_args(Input))


@pytest.mark.parametrize("item", INPUTS, ids=lambda item: type(item).__name__)
def test_an_input_comes_back_as_it_was(item: Input, tmp_path: Path) -> None:
    path = written(tmp_path / "x", item)
    assert read_item(path) == item
    header = read_header(path)
    assert (header.what, header.serial) == (type(item).__name__, item.serial)
    assert header.error == "ValueError: \\ud800 bad"
    if not isinstance(item, Subscribe | Unsubscribe):
        assert header.time == NOON


def every_stream() -> Iterator[Stream]:
    for rules in MARKETS.values():
        for spec in rules.streams.specs:
            symbol = "BTC-25JUN27-106000-C-USDT" if rules.market is Market.OPTION else "BTCUSDT"
            yield rules.streams.stream(symbol, spec)
        for spec in rules.streams.market_specs:
            yield rules.streams.market_stream(spec)


def test_every_stream_of_every_market_is_known_by_its_name(tmp_path: Path) -> None:
    for stream in every_stream():
        origin = Origin(stream.exchange, stream.market, "c", 1)
        item = SnapshotReply(1, NOON, 1, stream, b"{}", 2, serial=1)
        path = written(tmp_path / "x", item, origin)
        assert read_item(path) == item, stream


@settings(max_examples=runs(50), deadline=None)
@given(st.lists(batches(mode=NumberMode.FLOAT), max_size=3))
def test_a_bundle_comes_back_as_it_was(tmp_path_factory: Any, parts: list[Any]) -> None:
    item = Bundle(ORIGIN, 4, NOON, parts, nbytes=77)
    back = read_item(written(tmp_path_factory.mktemp("q") / "x", item))
    assert isinstance(back, Bundle)
    assert back.batches == parts
    assert (back.origin, back.serial, back.nbytes, back.down) == (ORIGIN, 4, 77, None)


def changed(path: Path, line: int, **fields: Any) -> None:
    lines = path.read_text().split("\n")[:-1]  # a venue's text may hold other ends of lines
    values = json.loads(lines[line - 1]) | fields
    lines[line - 1] = json.dumps({k: v for k, v in values.items() if v is not ...})
    path.write_text("\n".join(lines) + "\n")


FRAMES = INPUTS[1]


@pytest.mark.parametrize(
    ("item", "line", "fields", "message"),
    [
        (FRAMES, 1, {"format": 2}, r"x:1: written in format 2; this farm reads 1"),
        (FRAMES, 1, {"what": "Parcel"}, r"x:1: an item of a kind that is unknown here: Parcel"),
        (FRAMES, 1, {"exchange": "nowhere"}, r"x:1: not the header .* 'nowhere'"),
        (FRAMES, 2, {"first_ordinal": ...}, r"x:2: .*first_ordinal"),
        (FRAMES, 2, {"more": 1}, r"x:2: .*more"),
        (FRAMES, 3, {"encoding": "latin"}, r"x:3: 'latin' is no encoding"),
        (FRAMES, 4, {"raw": "%%"}, r"x:4: broken base64"),
        (FRAMES, 5, {"raw": 7}, r"x:5: .*raw"),
        (INPUTS[3], 2, {"stream": "btc@nothing"}, r"x:2: a stream that is unknown .*nothing"),
        (INPUTS[4], 2, {"streams": ["btc@nothing"]}, r"x:2: a stream that is unknown .*nothing"),
        (Bundle(ORIGIN, 1, NOON, [trades()]), 2, {"final": "yes"}, r"x:2: .*final"),
        (Bundle(ORIGIN, 1, NOON, [trades()]), 3, {"batch": "AAAA"}, r"x:3: "),
        (Bundle(ORIGIN, 1, NOON, [trades()]), 3, {"batch": "A"}, r"x:3: broken base64"),
    ],
)
def test_damage_is_told_with_file_and_line(
    item: Any, line: int, fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "x", item)
    changed(path, line, **fields)
    with pytest.raises(RecordingError, match=message):
        read_item(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", r"x:1: not the header"),
        (b"\xff\n", r"x:1: not the header"),
        (b"{}\n", r"x:1: not the header"),
        (b"[" * 100_000, r"x:1: not the header"),
    ],
)
def test_what_is_no_such_file_is_told(text: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(text)
    for read in (read_header, read_item):
        with pytest.raises(RecordingError, match=message):
            read(path)
    with pytest.raises(RecordingError, match="No such file"):
        read_header(tmp_path / "nothing")


def test_a_file_cut_short_anywhere_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path / "x", FRAMES)
    whole = path.read_bytes()
    for size in range(len(whole) - 1):  # without the very last end of line it is whole
        path.write_bytes(whole[:size])
        with pytest.raises(RecordingError, match=r"x:\d: "):
            read_item(path)
