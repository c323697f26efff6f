"""The command: what it prints, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from farm.exchanges.outages import Outages
from farm.testing import FaultScript
from farm.testing.chaos.__main__ import main

FAILING = """
3 duplicate publicTrade.*
4 drop orderbook.* count=2
8 restart seconds=3
9.5 rest_garbage
"""


def seed_of_bybit() -> int:
    """One that is of a market where nothing but farm's own record tells of a loss."""
    from farm.testing.chaos import ChaosPlan

    plans = (ChaosPlan.of(seed) for seed in range(100))
    return next(
        plan.seed
        for plan in plans
        if plan.market_name == "bybit/linear" and not plan.crashes
        if (plan.lanes, plan.pause, plan.tls) == (1, 0.0, False)
    )


def test_a_few_runs_are_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "3", "--jobs", "1", "--json"]) == 0
    told = capsys.readouterr()
    summary: Any = json.loads(told.out)
    assert (summary["runs"], summary["failed"]) == (3, [])
    for kind in ("trades", "quotes"):
        assert summary[kind]["owed"] >= summary[kind]["delivered"] > 0
    assert sum(summary["markets"].values()) == 3
    assert "3 of 3 runs, 0 failed" in told.err


def test_a_failure_is_shrunk_to_the_fault_that_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "script.txt"
    file.write_text(FAILING)
    arguments = ["--seed", str(seed_of_bybit()), "--script", str(file)]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert "1 runs, 0 failed" in told
    assert {line.split(":")[0] for line in told.splitlines()} >= {"trades", "quotes", "books"}
    monkeypatch.setattr(Outages, "back", lambda *_args: [])
    assert main([*arguments, "--shrink", "--json"]) == 1
    (failed,) = json.loads(capsys.readouterr().out)["failed"]
    assert "neither delivered nor in a gap" in failed["violations"][0]
    assert list(FaultScript.parse("\n".join(failed["plan"][1:]))) == list(
        FaultScript.parse("8 restart seconds=3")
    )


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), ("1 explode", "explode"), ("x reset", "x")]
)
def test_a_script_that_cannot_be_used_is_named(
    content: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "script.txt"
    if content is not None:
        file.write_text(content)
    assert main(["--seed", "1", "--script", str(file)]) == 2
    assert said in capsys.readouterr().err


def test_a_script_that_is_no_text_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "script.txt"
    file.write_bytes(b"1 reset # \xff\xfe")
    assert main(["--seed", "1", "--script", str(file)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"chaos: {file} is no text")
    assert told.count("\n") == 1


def test_a_script_needs_a_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--script", str(tmp_path / "script.txt")])
    assert ended.value.code == 2
    assert "--script needs --seed" in capsys.readouterr().err


def test_it_is_a_command_and_spreads_over_processes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "farm.testing.chaos", "--seeds", "4", "--jobs", "2"],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    assert (done.returncode, done.stdout.splitlines()[0][:16]) == (0, "4 runs, 0 failed")
