"""Finding the farms that run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trio

from farm.errors import ControlError
from farm.monitor.control import serve_control
from farm.monitor.running import RunningFarm, ask_farms
from farm.monitor.runtime import link_socket, listen_privately, runtime_directory
from tests.sockets import names_in, own_runtime_directory


@pytest.fixture
def runtime() -> Iterator[Path]:
    with own_runtime_directory():
        yield runtime_directory(make=True)


async def serve(nursery: trio.Nursery, path: Path, data: Path | None) -> None:
    """A farm at `path`; it tells its place."""
    place = None if data is None else str(data)

    def answer(what: str) -> dict[str, Any]:
        return {"asked": what, "data": place}

    await nursery.start(serve_control, path, answer)
    link_socket(path)


@pytest.fixture
def data(runtime: Path) -> Path:
    data = (runtime.parent / "data").resolve()
    (data / "_runs").mkdir(parents=True)
    return data


async def test_where_none_runs_none_is_found(runtime: Path, data: Path) -> None:
    assert await ask_farms("ps") == await ask_farms("ps", data) == []
    await trio.Path(runtime).rmdir()
    assert await ask_farms("ps") == await ask_farms("ps", data) == []


async def test_each_is_found_once_by_all_by_data_and_by_pid(runtime: Path, data: Path) -> None:
    async with trio.open_nursery() as nursery:
        await serve(nursery, data / "_runs" / "20.sock", data)
        await serve(nursery, runtime / "3.sock", None)
        await serve(nursery, runtime / "100.sock", data)  # whose path was too long, say
        everything = await ask_farms("ps")
        assert [farm.pid for farm in everything] == [3, 20, 100]
        assert [str(farm) for farm in everything] == [
            "3 (stores nothing)",
            f"20 ({data})",
            f"100 ({data})",
        ]
        assert {farm.answer["asked"] for farm in everything if farm.answer} == {"ps"}
        assert [farm.pid for farm in await ask_farms("ps", data)] == [20, 100]
        assert [farm.pid for farm in await ask_farms("ps", data, 100)] == [100]
        assert [farm.pid for farm in await ask_farms("ps", pid=3)] == [3]
        assert await ask_farms("ps", runtime.parent / "other") == []
        assert await ask_farms("ps", data, 3) == []
        nursery.cancel_scope.cancel()


async def test_a_relative_path_or_a_link_to_the_data_will_do(
    runtime: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = runtime.parent / "link"
    link.symlink_to(data)
    monkeypatch.chdir(runtime.parent)
    async with trio.open_nursery() as nursery:
        await serve(nursery, data / "_runs" / "20.sock", data)
        for path in (data, link, Path("data"), Path("link")):
            assert [farm.pid for farm in await ask_farms("ps", path)] == [20]
        nursery.cancel_scope.cancel()


async def test_one_that_hangs_is_told_of_and_holds_up_no_other(runtime: Path, data: Path) -> None:
    hanging = data / "_runs" / "20.sock"
    with ExitStack() as stack:
        stack.enter_context(listen_privately(hanging))
        link_socket(hanging)
        async with trio.open_nursery() as nursery:
            await serve(nursery, runtime / "3.sock", None)
            first, second = await ask_farms("ps", timeout=1.0)
            nursery.cancel_scope.cancel()
        assert first.answer is not None
        assert second.answer is None
        assert "no answer" in second.error
        assert str(second) == "20 (does not answer)"
        (again,) = await ask_farms("ps", data, timeout=0.02)
        assert (again.pid, again.answer) == (20, None)
        assert await ask_farms("ps", runtime.parent / "other", timeout=0.02) == []


async def test_the_dead_are_removed_when_met(runtime: Path, data: Path) -> None:
    dead = data / "_runs" / "20.sock"
    with listen_privately(dead):
        link_socket(dead)
    assert await ask_farms("ps") == []
    assert names_in(runtime) == []
    assert await ask_farms("ps", data) == []
    assert names_in(dead.parent) == []


async def test_other_names_are_passed_over(runtime: Path) -> None:
    with listen_privately(runtime / "editor.sock"):
        assert await ask_farms("ps") == []


async def test_a_directory_that_cannot_be_trusted_is_an_error(runtime: Path) -> None:
    await trio.Path(runtime).chmod(0o777)
    with pytest.raises(ControlError, match="open to other users"):
        await ask_farms("ps")


def test_a_farm_that_answers_something_else_is_no_farm_of_this_data(tmp_path: Path) -> None:
    assert not RunningFarm(tmp_path / "1.sock", 1, {}).stores_in(tmp_path)
