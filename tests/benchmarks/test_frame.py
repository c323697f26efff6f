"""All benchmarks in a row: what is written, what is printed, and the exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import benchmarks.__main__ as frame
from benchmarks import suite
from benchmarks.saved import load

ROOT = Path(__file__).parents[2]
STUB = "tests.benchmarks.stubs"


@pytest.fixture(autouse=True)
def stubs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two benchmarks, in a working directory of their own."""
    monkeypatch.setattr(suite, "BENCHMARKS", {"one": STUB, "two": STUB})
    monkeypatch.setattr(frame, "BENCHMARKS", suite.BENCHMARKS)
    monkeypatch.setattr(frame, "PUBLISHED", tmp_path / "published.svg")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)


def only(pattern: str) -> Path:
    (path,) = Path().glob(pattern)
    return path


def test_all_benchmarks_run_and_are_kept_where_git_does_not_look(capfd: Any) -> None:
    assert frame.main(["--quick"]) == 0
    out, err = capfd.readouterr()
    assert out.count("Beads & beads") == 2
    assert "goal at least 2: MISSED" in out
    assert "[1/2] one ..." in err
    assert "[2/2] two: done" in err
    assert err.count("at work") == 2
    reports = load(only(".benchmarks/*/benchmarks.json"))
    assert [figure.values for figure in reports[1].cases[0].figures] == [[2.0], [3.0]]
    assert "| a case, ns a bead | 2 |" in only(".benchmarks/*/benchmarks.md").read_text()
    assert "goal missed" in only(".benchmarks/*/comparison.svg").read_text()
    assert only(".benchmarks/.gitignore").read_text() == "*\n"
    assert not frame.PUBLISHED.exists()


def test_a_directory_rounds_and_names_may_be_given(capfd: Any, tmp_path: Path) -> None:
    given = ["--only", "two", "--rounds", "3", "--out", str(tmp_path / "a" / "b"), "--json"]
    assert frame.main(given) == 0
    printed = json.loads(capfd.readouterr().out)
    assert len(printed["reports"]) == 1
    assert printed["reports"][0]["cases"][0]["figures"][0]["values"] == [1.0] * 3
    assert json.loads((tmp_path / "a" / "b" / "benchmarks.json").read_text()) == printed
    assert not Path(".benchmarks").exists()


def test_only_a_whole_run_is_published(capfd: Any) -> None:
    assert frame.main(["--publish"]) == 0
    assert "Beads" in frame.PUBLISHED.read_text()
    for option in (["--quick"], ["--only", "one"]):
        with pytest.raises(SystemExit, match="2"):
            frame.main(["--publish", *option])
    assert capfd.readouterr().err.count("--publish wants all benchmarks") == 2


@pytest.mark.parametrize(
    ("behaviour", "told", "kept"),
    [
        ("crash", "one: failed with exit code 1", 0),
        ("lose", "one: farm delivers less than all: a case (50.0%)", 2),
    ],
)
def test_a_crash_or_a_loss_of_farm_fails(
    monkeypatch: pytest.MonkeyPatch, capfd: Any, behaviour: str, told: str, kept: int
) -> None:
    monkeypatch.setenv("STUB", behaviour)
    assert frame.main(["--publish"]) == 1
    assert told in capfd.readouterr().err
    assert not frame.PUBLISHED.exists()
    data = json.loads(only(".benchmarks/*/benchmarks.json").read_text())
    assert (len(data["reports"]), list(data["failed"])) == (kept, ["one", "two"])


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("tests", "failed with exit code 1"),
        ("this", "failed: benchmarks.one: not JSON"),
    ],
)
def test_a_module_that_is_no_benchmark_fails(
    monkeypatch: pytest.MonkeyPatch, capfd: Any, module: str, told: str
) -> None:
    monkeypatch.setitem(suite.BENCHMARKS, "one", module)
    assert frame.main(["--only", "one"]) == 1
    assert told in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--only", "one,three"], "no benchmark three; there are"),
        (["--only", ""], "no benchmark"),
        (["--rounds", "-1"], "--rounds is -1"),
    ],
)
def test_a_command_line_that_cannot_be_used(capfd: Any, options: Any, told: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        frame.main(options)
    assert told in capfd.readouterr().err
    assert not Path(".benchmarks").exists()


def test_a_missing_module_is_an_error(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.setitem(suite.BENCHMARKS, "two", "benchmarks.lost")
    with pytest.raises(SystemExit, match="2"):
        frame.main([])
    assert "there is no module benchmarks.lost" in capfd.readouterr().err


def test_ctrl_c_ends_the_one_that_runs_and_keeps_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ended = tmp_path / "ended"
    monkeypatch.setenv("STUB", "hang")
    monkeypatch.setenv("STUB_ENDED", str(ended))
    code = (
        "import sys; import benchmarks.__main__ as frame; from benchmarks import suite;"
        f"suite.BENCHMARKS.update(books={STUB!r}); sys.exit(frame.main(['--only', 'books']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        while "at work" not in process.stderr.readline():
            assert process.poll() is None
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.endswith("interrupted\n")
    assert ended.exists(), err


def test_each_listed_benchmark_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert suite.missing(list(suite.BENCHMARKS)) == []
    assert all(find_spec(module) for module in suite.BENCHMARKS.values())
