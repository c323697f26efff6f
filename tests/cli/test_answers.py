from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import attrs
import pytest

from farm.cli.answers import Answers
from farm.errors import ControlError
from tests.api.test_health import PROCESS, WELL, with_connection, with_process


class Told:
    """A farm that says this of itself."""

    def __init__(self, stats: Any) -> None:
        self.stats = lambda: stats


def test_the_processes(tmp_path: Path) -> None:
    answer = Answers(Told(WELL), tmp_path)("ps")  # type: ignore[arg-type]
    assert answer["pid"] == os.getpid()
    assert answer["data"] == str(tmp_path.resolve())
    assert answer["processes"] == [attrs.asdict(PROCESS)]
    assert json.loads(json.dumps(answer)) == answer


def test_the_status(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    answer = Answers(Told(WELL), Path("data"))("status")  # type: ignore[arg-type]
    assert answer["state"] == "well"
    assert answer["problems"] == answer["pending"] == answer["losses"] == []
    assert answer["data"] == str(tmp_path.resolve() / "data")
    assert answer["totals"]["events"] == 9
    assert answer["feeds"] == {"live": 2}
    assert answer["books"] == {"verified": 1}
    assert answer["connections"] == {"running": 1}
    assert answer["edges"][0]["edge"] == "parser>aggregator"
    assert json.loads(json.dumps(answer)) == answer


def test_what_is_wrong_is_in_the_status() -> None:
    stats = with_connection(status="parked", last_error="a bug")
    answer = Answers(Told(stats), None)("status")  # type: ignore[arg-type]
    assert (answer["state"], answer["data"]) == ("unwell", None)
    assert answer["problems"] == ["binance/spot#1 is parked: a bug"]
    answer = Answers(Told(with_process(state="starting")), None)("status")  # type: ignore[arg-type]
    assert answer["pending"] == ["shard 1 is starting"]


def test_nothing_else_can_be_asked() -> None:
    with pytest.raises(ControlError, match="'weather' can't be asked"):
        Answers(Told(WELL), None)("weather")  # type: ignore[arg-type]
