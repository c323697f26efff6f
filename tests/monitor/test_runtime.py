"""Sockets: where they are, who may open them, and what becomes of those of the dead."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.errors import ControlError
from farm.monitor.runtime import (
    LONGEST_PATH,
    is_alive,
    link_socket,
    listen_privately,
    peer_of,
    remove_dead,
    runtime_directory,
    socket_places,
    sockets_of_data,
)
from tests.sockets import crowd_at, names_in, own_runtime_directory


@pytest.fixture
def runtime() -> Iterator[Path]:
    with own_runtime_directory() as directory:
        yield directory


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def kill(path: Path) -> None:
    """Leave at `path` what a farm leaves that is killed."""
    with listen_privately(path):
        pass
    assert path.is_socket()
    assert not is_alive(path)


# --- the directory -------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_runtime_directory_is_its_owners_alone(runtime: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        assert runtime_directory(make=True) == runtime
    finally:
        os.umask(before)
    assert mode(runtime) == 0o700
    assert runtime_directory(make=True) == runtime_directory(make=False) == runtime


def test_who_only_looks_makes_no_directory(runtime: Path) -> None:
    with pytest.raises(FileNotFoundError):
        runtime_directory(make=False)
    assert not runtime.exists()


def test_a_directory_that_is_open_to_others_is_refused(runtime: Path) -> None:
    runtime.mkdir()
    runtime.chmod(0o750)
    with pytest.raises(ControlError, match="open to other users"):
        runtime_directory(make=True)


def test_a_link_in_the_place_of_the_directory_is_refused(runtime: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    runtime.symlink_to(tmp_path)
    with pytest.raises(ControlError, match="no directory"):
        runtime_directory(make=True)


def test_another_users_directory_is_refused(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    tmp_path.joinpath(f"farm-{me + 1}").mkdir(mode=0o700)
    with pytest.raises(ControlError, match="another user's"):
        runtime_directory(make=True)


@pytest.mark.parametrize("given", [None, "", "relative", "/nowhere/at/all"])
def test_without_a_runtime_directory_of_the_systems_it_is_a_temporary_one(
    given: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    if given is not None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", given)
    assert runtime_directory(make=True) == tmp_path / f"farm-{os.geteuid()}"


def test_a_runtime_directory_of_another_users_is_passed_over(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As after sudo, which may leave the environment as it was."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with pytest.raises(FileNotFoundError):
        runtime_directory(make=False)
    assert not runtime.exists()


# --- places --------------------------------------------------------------------------------------


def test_the_data_directory_comes_first(runtime: Path) -> None:
    data = runtime.parent / "data"
    assert socket_places(data, 7) == [data / "_runs/7.sock", runtime / "7.sock"]
    assert socket_places(None, 7) == [runtime / "7.sock"]


@pytest.mark.parametrize("over", [0, 1])
def test_a_path_that_is_too_long_is_left_out(runtime: Path, over: int) -> None:
    rest = len(os.fsencode(runtime.parent / "_runs" / "7.sock")) + 1
    data = runtime.parent / ("d" * (LONGEST_PATH - rest + over))
    places = socket_places(data, 7)
    assert (data / "_runs/7.sock" in places) is not over
    (data / "_runs").mkdir(parents=True)
    for place in places:  # the longest that is allowed can be used
        listen_privately(place).close()


def test_bytes_count_not_characters(runtime: Path) -> None:
    data = runtime.parent / ("ü" * (LONGEST_PATH // 2))
    assert len(str(data / "_runs/7.sock")) <= LONGEST_PATH
    assert socket_places(data, 7) == [runtime / "7.sock"]


def test_a_runtime_directory_that_cannot_be_used_leaves_the_data_directory(runtime: Path) -> None:
    runtime.write_text("in the way")
    data = runtime.parent / "data"
    assert socket_places(data, 7) == [data / "_runs/7.sock"]
    with pytest.raises(OSError, match="exists"):
        socket_places(None, 7)


# --- sockets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_socket_is_its_owners_alone_whatever_the_umask(runtime: Path, umask: int) -> None:
    directory = runtime.parent
    before = os.umask(umask)
    try:
        with listen_privately(directory / "7.sock"):
            assert mode(directory / "7.sock") == 0o600
    finally:
        os.umask(before)
    assert names_in(directory) == ["7.sock"]


def test_it_has_no_name_before_it_is_its_owners_alone(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = runtime.parent / "7.sock"
    modes = []

    class Watched(socket.socket):
        def listen(self, backlog: int) -> None:  # type: ignore[override]
            bound = Path(self.getsockname())
            modes.append((mode(bound.parent), mode(bound), path.exists()))
            super().listen(backlog)

    monkeypatch.setattr(socket, "socket", Watched)
    listen_privately(path).close()
    assert modes == [(0o700, 0o600, False)]


def test_the_socket_of_a_killed_farm_is_replaced(runtime: Path) -> None:
    path = runtime.parent / "7.sock"
    kill(path)
    with listen_privately(path):
        assert is_alive(path)


def test_a_socket_in_use_is_not(runtime: Path) -> None:
    path = runtime.parent / "7.sock"
    with listen_privately(path):
        with pytest.raises(ControlError, match=f"{path} is in use by process {os.getpid()}"):
            listen_privately(path)
        assert is_alive(path)


def test_a_socket_that_lets_nobody_in_for_now_is_alive(runtime: Path) -> None:
    path = runtime.parent / "7.sock"
    with listen_privately(path), crowd_at(path):
        assert is_alive(path)
        with pytest.raises(ControlError, match="in use by process 7"):
            listen_privately(path)


def test_what_is_no_socket_is_left_alone(runtime: Path) -> None:
    path = runtime.parent / "7.sock"
    path.write_text("mine")
    with pytest.raises(ControlError, match="no socket"):
        listen_privately(path)
    assert remove_dead(path.parent) == []
    assert path.read_text() == "mine"


def test_what_a_killed_start_left_is_no_hindrance(runtime: Path) -> None:
    left = runtime.parent / ".7"
    left.mkdir()
    (left / "s").touch()
    listen_privately(runtime.parent / "7.sock").close()
    assert not left.exists()


def test_the_dead_are_removed_and_the_living_found(runtime: Path) -> None:
    runs = runtime.parent / "data" / "_runs"
    (runs / "run").mkdir(parents=True)
    (runs / "lock").touch()
    kill(runs / "7.sock")
    with listen_privately(runs / "8.sock"):
        assert sockets_of_data(runtime.parent / "data") == [runs / "8.sock"]
    assert names_in(runs) == ["8.sock", "lock", "run"]
    assert sockets_of_data(runtime.parent / "nowhere") == []


def test_a_link_makes_a_socket_known(runtime: Path) -> None:
    path = runtime.parent / "7.sock"
    with listen_privately(path):
        link = link_socket(path)
        assert link == runtime / "7.sock"
        assert link.readlink() == path
        assert remove_dead(runtime) == [link]
    assert remove_dead(runtime) == []
    assert not link.is_symlink()


def test_a_link_replaces_one_of_the_dead_and_none_of_the_living(runtime: Path) -> None:
    path, other = runtime.parent / "7.sock", runtime.parent / "other"
    other.mkdir()
    with listen_privately(path), listen_privately(other / "7.sock") as living:
        assert link_socket(other / "7.sock") is not None
        with pytest.raises(ControlError, match="in use"):
            link_socket(path)
        living.close()
        link = link_socket(path)
        assert link is not None
        assert link.readlink() == path


def test_a_socket_in_the_runtime_directory_needs_no_link(runtime: Path) -> None:
    path = runtime_directory(make=True) / "7.sock"
    with listen_privately(path):
        assert link_socket(path) is None
        assert remove_dead(runtime) == [path]


def test_who_is_at_the_other_end() -> None:
    first, second = socket.socketpair(socket.AF_UNIX)
    with first, second:
        peer = peer_of(first)
    assert peer is not None
    assert (peer.pid, peer.uid) == (os.getpid(), os.geteuid())


def test_a_system_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_PEERCRED")
    first, second = socket.socketpair(socket.AF_UNIX)
    with first, second:
        assert peer_of(first) is None
