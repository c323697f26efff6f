from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from farm.api.health import HealthState
from farm.cli.status import NO_ANSWER, STARTING, status
from farm.monitor import running
from farm.monitor.control import serve_control
from farm.monitor.running import ask_farms
from farm.monitor.runtime import listen_privately, runtime_directory
from tests.cli.interrupting import Command, command, wait_until
from tests.cli.processes import farm
from tests.cli.test_ps import MAIN, SHARD
from tests.sockets import names_in, own_runtime_directory

ANSWER = {
    "state": "well",
    "problems": [],
    "pending": [],
    "losses": [],
    "pid": 100,
    "since": "2026-11-24T12:00:00+00:00",
    "seconds": 1.5,
    "data": "/data",
    "processes": [MAIN, SHARD],
}


@pytest.fixture(autouse=True)
def runtime() -> Iterator[Path]:
    with own_runtime_directory():
        yield runtime_directory(make=True)


@asynccontextmanager
async def answering(path: Path, **changes: Any) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_control, path, lambda _: ANSWER | changes)
        yield
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("state", "code"),
    [(HealthState.WELL, 0), (HealthState.UNWELL, 1), (HealthState.STARTING, STARTING)],
)
@pytest.mark.parametrize("as_json", [False, True])
async def test_the_state_gives_the_exit_code(
    runtime: Path,
    capsys: pytest.CaptureFixture[str],
    state: HealthState,
    code: int,
    as_json: bool,
) -> None:
    async with answering(runtime / "100.sock", state=state.value):
        assert await status(as_json=as_json) == code
    out = capsys.readouterr().out
    if as_json:
        assert json.loads(out) == ANSWER | {"state": state.value}
    else:
        assert out.split()[0] == state.value


async def test_people_read_sentences(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = {"problems": ["[1] is parked"], "pending": ["it starts"], "losses": ["7 gaps " * 40]}
    async with answering(runtime / "100.sock", state="unwell", **said):
        assert await status() == 1
    head, *sentences, main, shard = capsys.readouterr().out.splitlines()
    assert head == "unwell   farm 100   since 2026-11-24T12:00:00+00:00   /data"
    assert sentences == ["  [1] is parked", "  it starts", "  " + "7 gaps " * 40]
    assert main == "  main running  pid 100  0 connections  0 events  0 restarts"
    assert shard == (
        "  shard 1 parked  pid 101  1,024 connections  5,000,000 events  12,345.7 a second  "
        "150 MiB  42% of a core  6 restarts"
    )


async def test_of_several_one_must_be_named(
    runtime: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(await trio.Path(tmp_path).resolve())
    async with (
        answering(runtime / "100.sock"),
        answering(runtime / "200.sock", data=data, pid=200),
        answering(runtime / "300.sock", data=data, pid=300, state="unwell"),
    ):
        assert await status() == 2
        said = capsys.readouterr().err
        assert all(f"{pid} (" in said for pid in (100, 200, 300))
        assert await status(tmp_path) == 2
        said = capsys.readouterr().err
        assert "100" not in said
        assert f"200 ({data}), 300 ({data})" in said
        assert await status(pid=100) == 0
        assert await status(tmp_path, pid=300) == 1


async def test_where_none_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await status() == NO_ANSWER
    assert await status(tmp_path, pid=7, as_json=True) == NO_ANSWER
    out, said = capsys.readouterr()
    assert out == ""
    assert said.splitlines() == [
        "farm: no farm runs",
        f"farm: no farm runs with pid 7 that stores in {tmp_path}",
    ]


async def test_one_that_does_not_answer(
    runtime: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(running.ask_farms.__kwdefaults__, "timeout", 0.02)
    with listen_privately(runtime / "100.sock"):
        assert await status() == NO_ANSWER
    assert "the farm 100 does not answer" in capsys.readouterr().err


def test_the_exit_codes_are_in_the_help() -> None:
    text = " ".join(farm("status", "--help").stdout.split())
    for code in ("0 all is well", "1 something is wrong", "3 no farm answers", "4 it is still"):
        assert code in text


def test_of_a_demo_all_is_well(runtime: Path, tmp_path: Path) -> None:
    with command(tmp_path / "out", "demo", "--seconds", "3600", "--data", tmp_path / "d") as demo:
        wait_until(lambda: f"{demo.process.pid}.sock" in names_in(runtime), lambda: demo.err)
        answer = well(demo)
        assert answer["pid"] == demo.process.pid
        assert answer["problems"] == answer["pending"] == []
        assert {"live"} <= set(answer["feeds"]) <= {"live", "acknowledged"}
        assert answer["books"] == {"verified": 6}
        demo.process.send_signal(signal.SIGSTOP)
        (found,) = trio.run(partial(ask_farms, "status", pid=answer["pid"], timeout=0.1))
        assert found.answer is None
        demo.process.send_signal(signal.SIGCONT)
        well(demo)
        demo.interrupt()
        assert demo.end() == 0
    assert farm("status", tmp_path / "d").returncode == NO_ANSWER


def well(demo: Command) -> dict[str, Any]:
    """Ask until all is well: what is still starting says so."""
    answers: list[dict[str, Any]] = []

    def is_well() -> bool:
        result = farm("status", "--json")
        answers.append(json.loads(result.stdout))
        state = answers[-1]["state"]
        assert result.returncode == {"well": 0, "unwell": 1, "starting": STARTING}[state]
        return bool(state == "well")

    wait_until(is_well, lambda: f"{answers[-1]} {demo.err}")
    return answers[-1]
