"""Asking a farm through its socket: questions, nonsense, clients that hang, other users."""

from __future__ import annotations

import json
import logging
import os
import select
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from farm.errors import ControlError
from farm.monitor import control
from farm.monitor.control import (
    LONGEST_ANSWER,
    LONGEST_REQUEST,
    MOST_CLIENTS,
    ask_control,
    attend,
    serve_control,
)
from farm.monitor.runtime import is_alive, listen_privately
from tests.effort import runs
from tests.farms import until
from tests.sockets import crowd_at, names_in, own_runtime_directory

PATIENCE = 60.0
NOBODY = 65534


@pytest.fixture
def runtime() -> Iterator[Path]:
    with own_runtime_directory() as directory:
        yield directory


@pytest.fixture
def path(runtime: Path) -> Path:
    return runtime.parent / "7.sock"


def answer(what: str) -> dict[str, Any]:
    if what == "crash":
        raise ZeroDivisionError
    if what == "much":
        return {"much": "x" * LONGEST_ANSWER}
    if what == "unfit":
        return {"unfit": object()}
    if what != "status":
        raise ControlError(f"{what!r} can't be asked")
    return {"state": "well"}


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_control, path, answer)
        yield
        nursery.cancel_scope.cancel()


async def say(path: Path, line: bytes, *, ends: bool = False) -> bytes:
    """What comes back to a line: one line, too, or nothing."""
    with trio.fail_after(PATIENCE):
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(line)
            if ends:
                await stream.send_eof()
            reply = b""
            while not reply.endswith(b"\n") and (part := await stream.receive_some()):
                reply += part
            return reply


async def test_a_question_is_answered_and_the_socket_goes_with_the_server(path: Path) -> None:
    async with serving(path):
        assert await ask_control(path, "status") == {"state": "well"}
        assert await ask_control(path, "status") == {"state": "well"}
    assert names_in(path.parent) == []
    with pytest.raises(ControlError, match="nobody answers"):
        await ask_control(path, "status")


async def test_what_cannot_be_asked_is_an_error(path: Path) -> None:
    async with serving(path):
        with pytest.raises(ControlError, match="'weather' can't be asked"):
            await ask_control(path, "weather")


@pytest.mark.parametrize("what", ["crash", "unfit"])
async def test_an_answer_that_fails_is_logged_and_harms_nobody(
    path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(path):
        with pytest.raises(ControlError, match="the farm's log says why"):
            await ask_control(path, what)
        assert await ask_control(path, "status") == {"state": "well"}
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_an_answer_that_is_too_long_is_not_sent(path: Path) -> None:
    async with serving(path):
        with pytest.raises(ControlError, match="too long"):
            await ask_control(path, "much", PATIENCE)


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"nonsense\n",
        b"\xff\xfe\n",
        b"[]\n",
        b"{}\n",
        b'{"ask": 7}\n',
        b'"status"\n',
        b"[" * LONGEST_REQUEST + b"\n",
        b"x" * (LONGEST_REQUEST + 1),
        b'{"ask": "status", "more": "' + b"x" * LONGEST_REQUEST,
    ],
    ids=range(10),
)
async def test_nonsense_gets_an_error(path: Path, line: bytes) -> None:
    async with serving(path):
        reply = await say(path, line)
        assert reply.endswith(b"\n")
        assert set(json.loads(reply)) == {"error"}
        assert await ask_control(path, "status") == {"state": "well"}


async def test_a_line_may_come_in_parts_and_without_its_end(path: Path) -> None:
    async with serving(path):
        async with await trio.open_unix_socket(path) as stream:
            for byte in b'{"ask": "status"}\n':
                await stream.send_all(bytes([byte]))
            assert json.loads(await stream.receive_some()) == {"state": "well"}
        assert json.loads(await say(path, b'{"ask": "status"}', ends=True)) == {"state": "well"}


async def test_who_only_looks_gets_nothing(path: Path) -> None:
    async with serving(path):
        assert is_alive(path)
        assert await say(path, b"", ends=True) == b""


async def test_clients_that_hang_are_let_go(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "CLIENT_SECONDS", 0.05)
    async with serving(path):
        hanging = [await trio.open_unix_socket(path) for _ in range(3 * MOST_CLIENTS)]
        for stream in hanging:
            with trio.fail_after(PATIENCE):
                rest = b"".join([part async for part in stream])
            assert rest in (b"", b'{"error": "too many ask at once"}\n')
            await stream.aclose()
        assert await ask_control(path, "status") == {"state": "well"}


async def test_a_client_that_does_not_read_is_let_go(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "CLIENT_SECONDS", 0.2)
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_control, path, lambda _: {"much": "x" * (LONGEST_ANSWER // 2)})
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(b'{"ask": "status"}\n')
            await until(lambda: is_hung_up(stream))
            received = b"".join([part async for part in stream])
            assert received  # a part of its answer
            assert not received.endswith(b"\n")
        nursery.cancel_scope.cancel()


def is_hung_up(stream: trio.SocketStream) -> bool:
    poll = select.poll()
    poll.register(stream.socket.fileno(), 0)
    return bool(poll.poll(0))


async def test_a_few_are_served_at_once_and_more_are_told_so(path: Path) -> None:
    async with serving(path):
        others = [await trio.open_unix_socket(path) for _ in range(MOST_CLIENTS)]
        with pytest.raises(ControlError, match="too many"):
            await ask_control(path, "status")
        for stream in others:
            await stream.send_all(b'{"ask": "status"}\n')
            assert json.loads(await stream.receive_some()) == {"state": "well"}
            await stream.aclose()
        assert await ask_control(path, "status") == {"state": "well"}


async def test_clients_that_go_away_at_any_moment_harm_nobody(path: Path) -> None:
    async with serving(path):
        for _ in range(runs(20)):
            for length in (0, 5, 18):
                async with await trio.open_unix_socket(path) as stream:
                    await stream.send_all(b'{"ask": "status"}\n'[:length])
        assert await ask_control(path, "status") == {"state": "well"}


async def test_other_users_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    me = os.geteuid()
    async with serving(path):
        monkeypatch.setattr(os, "geteuid", lambda: me + 1)
        reply = await say(path, b'{"ask": "status"}\n')
        assert json.loads(reply) == {"error": "only this farm's owner may ask"}
        with pytest.raises(ControlError, match="another user's"):
            await ask_control(path, "status")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
async def test_another_user_cannot_open_it_and_gets_no_answer() -> None:
    with tempfile.TemporaryDirectory(prefix="farm") as name:
        await trio.Path(name).chmod(0o711)
        path = Path(name, "7.sock")
        async with serving(path):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.setblocking(False)
                with pytest.raises(PermissionError):
                    connect_as_nobody(client, path)
                await trio.Path(path).chmod(0o666)
                connect_as_nobody(client, path)
                stream = trio.SocketStream(trio.socket.from_stdlib_socket(client))
                with trio.fail_after(PATIENCE):
                    assert b"only this farm's owner" in await stream.receive_some()


def connect_as_nobody(client: socket.socket, path: Path) -> None:
    os.seteuid(NOBODY)
    try:
        client.connect(str(path))
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("reply", [b"", b'{"state"', b"nonsense\n", b"[]\n", b"[" * 9_999 + b"\n"])
async def test_what_is_no_answer_of_a_farms_is_an_error(path: Path, reply: bytes) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(reply)

    listener = trio.SocketListener(trio.socket.from_stdlib_socket(listen_privately(path)))
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, serve, [listener])
        with pytest.raises(ControlError, match=r"no farm|ended before"):
            await ask_control(path, "status")
        nursery.cancel_scope.cancel()


async def test_a_farm_that_does_not_answer_is_given_up(path: Path) -> None:
    with listen_privately(path), pytest.raises(ControlError, match=r"no answer within 0\.02 s"):
        await ask_control(path, "status", 0.02)


async def test_a_farm_that_lets_nobody_in_is_given_up(path: Path) -> None:
    with listen_privately(path), crowd_at(path), pytest.raises(ControlError):
        await ask_control(path, "status", 0.02)


# --- serving whatever happens --------------------------------------------------------------------


@asynccontextmanager
async def attending(data: Path | None) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attend, data, answer)
        yield
        nursery.cancel_scope.cancel()


def data_directory(parent: Path, name: str = "data") -> Path:
    data = parent / name
    (data / "_runs").mkdir(parents=True)
    return data


async def test_with_a_data_directory_the_socket_is_there_and_a_link_leads_to_it(
    runtime: Path,
) -> None:
    data = data_directory(runtime.parent)
    place, link = data / "_runs" / f"{os.getpid()}.sock", runtime / f"{os.getpid()}.sock"
    async with attending(data):
        await until(link.is_symlink)
        assert link.readlink() == place
        assert await ask_control(place, "status") == await ask_control(link, "status")
    assert names_in(runtime) == names_in(data / "_runs") == []


async def test_without_one_it_is_in_the_runtime_directory(runtime: Path) -> None:
    place = runtime / f"{os.getpid()}.sock"
    async with attending(None):
        await until(place.is_socket)
        assert not place.is_symlink()
        assert await ask_control(place, "status") == {"state": "well"}
    assert names_in(runtime) == []


async def test_so_it_is_where_the_data_directorys_path_is_too_long(runtime: Path) -> None:
    data = data_directory(runtime.parent, "d" * 100)
    place = runtime / f"{os.getpid()}.sock"
    async with attending(data):
        await until(place.is_socket)
        assert not place.is_symlink()
    assert names_in(data / "_runs") == []


async def test_and_where_the_data_directory_will_not_do(runtime: Path) -> None:
    """As on a file system without sockets, or one that several containers share."""
    data = data_directory(runtime.parent)
    place = runtime / f"{os.getpid()}.sock"
    with listen_privately(data / "_runs" / f"{os.getpid()}.sock"):
        async with attending(data):
            await until(place.is_socket)
            assert not place.is_symlink()
            assert await ask_control(place, "status") == {"state": "well"}


async def test_a_farm_that_cannot_be_asked_goes_on(
    runtime: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await trio.Path(runtime).write_text("in the way")
    async with attending(None):
        await until(lambda: bool(caplog.records))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "nobody can ask this farm" in record.message
    assert str(runtime) in record.message


async def test_a_farm_that_cannot_be_linked_can_be_asked(
    runtime: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = data_directory(runtime.parent)
    await trio.Path(runtime).write_text("in the way")
    async with attending(data):
        await until(lambda: bool(caplog.records))
        place = data / "_runs" / f"{os.getpid()}.sock"
        assert await ask_control(place, "status") == {"state": "well"}
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "by its data directory alone" in record.message


async def test_a_start_removes_what_killed_farms_left(runtime: Path) -> None:
    async with attending(None):
        await until((runtime / f"{os.getpid()}.sock").is_socket)
        listen_privately(runtime / "1.sock").close()
    (runtime / "2.sock").symlink_to(runtime.parent / "nowhere")
    async with attending(None):
        await until(lambda: names_in(runtime) == [f"{os.getpid()}.sock"])


async def test_cancelled_at_any_moment_it_leaves_nothing(runtime: Path) -> None:
    data = data_directory(runtime.parent)
    for turn in range(runs(20)):
        async with attending(data):
            for _ in range(turn):
                await trio.lowlevel.checkpoint()
        assert names_in(data / "_runs") == []
        assert turn == 0 or names_in(runtime) == []
