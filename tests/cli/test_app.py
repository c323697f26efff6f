from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.processes import farm

SPOT = '[[collectors]]\nexchange="binance"\nmarket="spot"\n'


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        (SPOT + 'symbols=["A"]\nstreams=["trade","quote","klin:1m"]', "collectors[0].streams[2]"),
        (SPOT + "symbols=[]", "collectors[0].symbols"),
        (SPOT + 'symbols=["A"]\nstrems=["trade"]', "collectors[0].strems"),
        ('mailbox_bytes="7"\n' + SPOT + 'symbols=["A"]', "mailbox_bytes"),
        (SPOT + "symbols=nothing", "line 4"),
    ],
)
def test_a_broken_configuration_is_named_and_ends_with_2(
    tmp_path: Path, toml: str, said: str
) -> None:
    path = tmp_path / "farm.toml"
    path.write_text(toml)
    result = farm("run", path)
    assert result.returncode == 2
    assert said in result.stderr
    assert "farm.toml" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "configuration file"),
        (["run", "x.toml", "--exchange", "binance"], "not both"),
        (["run", "--exchange", "kraken", "--market", "spot", "--symbols", "A"], "kraken"),
        (["run", "missing.toml"], "missing.toml"),
        (["demo", "--seconds", "0"], "--seconds"),
        (["demo", "--rate", "-5"], "--rate"),
        (["demo", "--data", ""], "--data"),
        (["run", "x.toml", "--seconds", "nan"], "--seconds"),
        (["replay", "x.log", "--exchange", "binance", "--market", "linear"], "binance/linear"),
        (["demo", "--seconds", "soon"], "soon"),
        (["replay"], "FILE"),
        (["nonsense"], "nonsense"),
    ],
)
def test_a_command_line_that_makes_no_sense_ends_with_2(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    result = farm(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert said in result.stderr + result.stdout
    assert "Traceback" not in result.stderr


def test_help_and_version() -> None:
    assert farm("--version").stdout.strip() == "0.1.0"
    text = farm("--help").stdout
    for command in ("demo", "run", "replay", "ps", "status", "config"):
        assert command in text
