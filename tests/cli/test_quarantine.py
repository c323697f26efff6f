"""``farm quarantine``: what is kept aside, and a second try."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from farm.actors.mailbox import Quarantined
from farm.batch import Origin
from farm.bundle import Bundle
from farm.entities import Trade
from farm.exchanges.session import Frames
from farm.storage.directory import open_data_directory
from farm.storage.quarantine import QuarantineStore, quarantine_files
from farm.storage.reader import read_batches
from farm.storage.unparsed import UnparsedStore
from farm.types import Exchange, Market, NumberMode
from tests.cli.processes import farm
from tests.exchanges.feeding import binance_trade
from tests.storage.events import NOON, ORIGIN, frame, trades

LANE = Origin(Exchange.BINANCE, Market.SPOT, "lane", 0)
TRACES = ("Traceback of the first\nKeyError: 'x'\n", "Traceback of the second\nValueError: bad\n")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with an input, a bundle that no line can take, and unparsed frames."""
    path = tmp_path / "data"
    with open_data_directory(path, NumberMode.FLOAT) as directory:
        kept = QuarantineStore(directory)
        frames = Frames(1, NOON, 0, [binance_trade(7)], 9, serial=3)
        kept.add(Quarantined("lane connection>parser", frames, "lane parser", TRACES), LANE)
        exact = Bundle(ORIGIN, 4, NOON + 1, [trades([1])])
        exact.batches[0].numbers = NumberMode.DECIMAL  # the directory holds the others
        kept.add(Quarantined("aggregator>sink", exact, "sink", TRACES))
        kept.write()
        unparsed = UnparsedStore(directory)
        unparsed.add([frame(1), frame(2), frame(3, kind="odd")])
        unparsed.write()
    return path


def answer(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    result = farm("quarantine", *arguments, "--json")
    assert result.returncode == code, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def names(path: Path) -> list[str]:
    return [f"{file.parent.name}/{file.name}" for file in quarantine_files(path)]


def trade_ids(path: Path) -> list[str]:
    return [trade.id for batch in read_batches(path, Trade) for trade in batch]


def test_it_lists_items_and_sums_up_frames(data: Path) -> None:
    listed = answer(data)
    first, second = listed["quarantine"]
    assert first.pop("farm")
    assert first == {
        "file": names(data)[0],
        "time": "2024-08-08T12:00:00.000000Z",
        "market": "binance/spot",
        "connection": "lane",
        "epoch": 1,
        "serial": 3,
        "mailbox": "lane connection>parser",
        "actor": "lane parser",
        "what": "Frames",
        "error": "ValueError: bad",
    }
    assert (second["what"], second["mailbox"]) == ("Bundle", "aggregator>sink")
    assert listed["unparsed"] == [
        {"market": "binance/spot", "kind": "malformed", "reason": "why", "count": 2},
        {"market": "binance/spot", "kind": "odd", "reason": "why", "count": 1},
    ]
    assert listed["errors"] == []
    text = farm("quarantine", data).stdout
    for part in ("2 items", "lane connection>parser", "ValueError: bad", "3 frames", *names(data)):
        assert part in text
    assert "Traceback" not in text


def test_tracebacks_are_shown_of_all_or_of_one(data: Path) -> None:
    text = farm("quarantine", data, "--traceback").stdout
    assert text.count("Traceback of the first") == text.count("Traceback of the second") == 2
    one = farm("quarantine", data, names(data)[1], "--traceback").stdout
    assert one.count("Traceback of the first") == 1
    assert "frames" not in one
    (item,) = answer(data, names(data)[0], "--traceback")["quarantine"]
    assert item["tracebacks"] == list(TRACES)


def test_a_replay_stores_what_goes_through_and_leaves_the_rest(data: Path) -> None:
    good, bad = names(data)
    done = answer(data, "--replay", code=1)
    assert done["replayed"] == [{"file": good, "rows": 1, "unparsed": 0}]
    ((file, error),) = [(one["file"], one["error"]) for one in done["failed"]]
    assert file == bad
    assert error.startswith("DataDirectoryError: ")
    assert trade_ids(data) == ["7"]
    assert names(data) == [bad]
    again = farm("quarantine", data, "--replay", "--traceback")
    assert again.returncode == 1
    assert again.stdout.startswith("0 of 1 items went through")
    assert f"farm: {bad}: Traceback" in again.stderr
    assert trade_ids(data) == ["7"]


def test_a_replay_of_one_item_into_another_directory(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    result = farm("quarantine", data, names(data)[0], "--replay", "--into", other)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"1 of 1 items went through: 1 rows stored in {other}\n"
    assert trade_ids(other) == ["7"]
    assert trade_ids(data) == []
    assert len(names(data)) == 1


def test_damaged_files_are_named_and_the_others_listed(data: Path) -> None:
    broken, _ = quarantine_files(data)
    broken.write_text("{}\n")
    (frames,) = (data / "_unparsed").rglob("*.jsonl")
    with frames.open("a") as file:
        file.write("rubbish\n")
    result = farm("quarantine", data)
    assert result.returncode == 1
    assert f"{broken}:1: not the header" in result.stderr
    assert f"{frames}:4: not an unparsed frame" in result.stderr
    assert "1 items" in result.stdout
    assert len(answer(data, code=1)["errors"]) == 2


def test_a_directory_that_keeps_nothing(tmp_path: Path) -> None:
    open_data_directory(tmp_path, NumberMode.FLOAT).close()
    assert answer(tmp_path)["quarantine"] == answer(tmp_path)["unparsed"] == []
    assert answer(tmp_path, "--replay")["replayed"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing-here"], 1, "not a data directory of farm's"),
        (["DATA", "--into", "x"], 2, "--into goes together with --replay"),
        (["DATA", "spot/x.jsonl"], 2, "has no spot/x.jsonl"),
        ([], 2, "DIRECTORY"),
    ],
)
def test_what_it_refuses(data: Path, arguments: list[str], code: int, message: str) -> None:
    words = [str(data) if word == "DATA" else word for word in arguments]
    result = farm("quarantine", *words, cwd=data.parent)
    assert result.returncode == code
    assert message in " ".join((result.stderr + result.stdout).split())
