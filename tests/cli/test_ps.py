from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from farm.cli.ps import memory_text, ps, rate_text, share_text
from farm.monitor import running
from farm.monitor.control import serve_control
from farm.monitor.runtime import listen_privately, runtime_directory
from tests.cli.interrupting import command, wait_until
from tests.cli.processes import farm
from tests.sockets import names_in, own_runtime_directory

MAIN = {
    "name": "main",
    "pid": 100,
    "state": "running",
    "connections": 0,
    "events": 0,
    "rate": None,
    "memory": None,
    "cpu": None,
    "restarts": 0,
    "reason": "",
}
SHARD = {
    **MAIN,
    "name": "shard 1",
    "pid": 101,
    "state": "parked",
    "connections": 1_024,
    "events": 5_000_000,
    "rate": 12_345.67,
    "memory": 150 * 2**20,
    "cpu": 0.42,
    "restarts": 6,
    "reason": "killed by [9]",
}
ANSWER = {
    "pid": 100,
    "since": "2026-11-24T12:00:00+00:00",
    "seconds": 1.5,
    "data": None,
    "processes": [MAIN, SHARD],
}


@pytest.fixture(autouse=True)
def runtime() -> Iterator[Path]:
    with own_runtime_directory():
        yield runtime_directory(make=True)


@asynccontextmanager
async def answering(path: Path, answer: dict[str, Any]) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_control, path, lambda _: answer)
        yield
        nursery.cancel_scope.cancel()


async def test_a_farm_and_its_processes(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with answering(runtime / "100.sock", ANSWER):
        assert await ps() == 0
    head, titles, main, shard = capsys.readouterr().out.splitlines()
    assert head == "farm 100   since 2026-11-24T12:00:00+00:00   nothing is stored"
    assert one_blank(titles) == (
        "process pid state connections events/s memory CPU restarts last failure"
    )
    assert one_blank(main) == "main 100 running 0 0"
    assert one_blank(shard) == ("shard 1 101 parked 1,024 12,345.7 150 MiB 42% 6 killed by [9]")


def one_blank(line: str) -> str:
    return " ".join(line.split())


async def test_json_is_one_object(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    second = ANSWER | {"pid": 200, "data": "/data"}
    path, other = runtime / "100.sock", runtime / "200.sock"
    async with answering(path, ANSWER), answering(other, second):
        assert await ps(as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == {
        "farms": [ANSWER | {"socket": str(path)}, second | {"socket": str(other)}]
    }


@pytest.mark.parametrize("as_json", [False, True])
async def test_a_farm_that_does_not_answer_is_listed(
    runtime: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    as_json: bool,
) -> None:
    monkeypatch.setitem(running.ask_farms.__kwdefaults__, "timeout", 0.02)
    with listen_privately(runtime / "100.sock"):
        assert await ps(as_json=as_json) == 0
    out = capsys.readouterr().out
    if as_json:
        (found,) = json.loads(out)["farms"]
        assert found["pid"] == 100
        assert "no answer" in found["error"]
    else:
        assert out.startswith("farm 100   does not answer: ")


async def test_where_none_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await ps() == 0
    assert await ps(tmp_path) == 0
    assert capsys.readouterr().out == f"no farm runs\nno farm runs that stores in {tmp_path}\n"
    assert await ps(as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == {"farms": []}


def test_figures() -> None:
    assert (rate_text(0.04), rate_text(1_234.56), rate_text(None)) == ("0.0", "1,234.6", "")
    assert (memory_text(2**31), memory_text(None)) == ("2,048 MiB", "")
    assert (share_text(0.005), share_text(1.5), share_text(None)) == ("0%", "150%", "")


def test_the_demo_is_found_while_it_runs(runtime: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with command(tmp_path / "out", "demo", "--seconds", "3600", "--data", data) as running:
        pid = running.process.pid
        wait_until(lambda: f"{pid}.sock" in names_in(runtime), lambda: running.err)
        for arguments in (["--json"], [str(data), "--json"]):
            result = farm("ps", *arguments)
            assert result.returncode == 0, result.stderr
            (found,) = json.loads(result.stdout)["farms"]
            assert (found["pid"], found["data"]) == (pid, str(data.resolve()))
        text = farm("ps").stdout
        assert f"farm {pid}" in text
        assert farm("ps", tmp_path).stdout == f"no farm runs that stores in {tmp_path}\n"
        running.interrupt()
        assert running.end() == 0
    assert names_in(runtime) == []
    assert [name for name in names_in(data / "_runs") if name.endswith(".sock")] == []


def test_a_killed_farm_is_not_listed(runtime: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with command(tmp_path / "out", "demo", "--seconds", "3600", "--data", data) as running:
        name = f"{running.process.pid}.sock"
        wait_until(lambda: name in names_in(runtime), lambda: running.err)
        running.process.kill()
        running.process.wait()
    assert os.path.lexists(runtime / name)
    assert json.loads(farm("ps", data, "--json").stdout) == {"farms": []}
    assert names_in(runtime) == []
    assert not os.path.lexists(data / "_runs" / name)
