"""Where the sockets of running farms are, and who may open them.

::

    <data>/_runs/<pid>.sock                    the socket, where this path is short enough
    $XDG_RUNTIME_DIR/farm/<pid>.sock           a symbolic link to it, else the socket itself
    <temporary directory>/farm-<uid>/…         the same, for users without a runtime directory

The kernel takes addresses of at most 107 bytes. Of all sockets here only the owner may open one: it
gets its name when it is so, and the runtime directory is nobody else's.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import struct
import tempfile
from pathlib import Path
from typing import Protocol

import attrs

from farm.errors import ControlError

__all__ = [
    "LONGEST_PATH",
    "Peer",
    "is_alive",
    "link_socket",
    "listen_privately",
    "peer_of",
    "remove_dead",
    "runtime_directory",
    "socket_places",
    "sockets_of_data",
]

LONGEST_PATH = 107
"""Bytes of the longest path that a socket may have."""

_RUNS = "_runs"  # see farm.storage.directory
_WAITING = 16  # clients that may wait to be let in


@attrs.frozen
class Peer:
    """The process at the other end of a socket."""

    pid: int
    uid: int


# --- places --------------------------------------------------------------------------------------


def runtime_directory(*, make: bool) -> Path:
    """The user's own directory for sockets; with `make` it is made where it is missing.

    ControlError where it is a link, another user's, or open to others; OSError where it can't be
    made, or, without `make`, is not there.
    """
    directory = _runtime_path()
    if make:
        directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise ControlError(f"{directory} is no directory")
    if found.st_uid != os.geteuid():
        raise ControlError(f"{directory} is another user's")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise ControlError(f"{directory} is open to other users; chmod 700 would close it")
    return directory


def _runtime_path() -> Path:
    given = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    try:
        if given.is_absolute() and given.stat().st_uid == os.geteuid():  # after sudo it may differ
            return given / "farm"
    except OSError:
        pass  # it is not there, as in many containers
    return Path(tempfile.gettempdir(), f"farm-{os.geteuid()}")


def socket_places(data: Path | None, pid: int) -> list[Path]:
    """Where the socket of a farm may be, the best place first. The runtime directory is made;
    where it can't be used it is left out."""
    places = []
    if data is not None:
        path = data.resolve() / _RUNS / f"{pid}.sock"
        if len(os.fsencode(path)) <= LONGEST_PATH:
            places.append(path)
    try:
        places.append(runtime_directory(make=True) / f"{pid}.sock")
    except (OSError, ControlError):
        if not places:
            raise
    return places


def sockets_of_data(data: Path) -> list[Path]:
    """The sockets in a data directory; the dead are removed."""
    return remove_dead(data.resolve() / _RUNS)


# --- sockets -------------------------------------------------------------------------------------


def listen_privately(path: Path) -> socket.socket:
    """A socket that listens at `path`, which only its owner may open, from the moment that it has
    that name. What a farm that was killed has left there is replaced.

    ControlError where a farm listens there, or something else stands there; OSError.
    """
    _see_free(path)
    private = path.with_name(f".{path.stem}")  # no longer than `path`, also with what is in it
    shutil.rmtree(private, ignore_errors=True)
    private.mkdir(mode=0o700)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        hidden = private / "s"
        listener.bind(str(hidden))
        hidden.chmod(0o600)
        listener.listen(_WAITING)
        hidden.replace(path)
    except OSError:
        listener.close()
        raise
    finally:
        shutil.rmtree(private, ignore_errors=True)
    return listener


def link_socket(path: Path) -> Path | None:
    """Make the socket at `path` known in the runtime directory; the link, or None where it is there
    itself. ControlError, OSError."""
    link = runtime_directory(make=True) / path.name
    if link == path:
        return None
    _see_free(link)
    link.unlink(missing_ok=True)
    link.symlink_to(path)
    return link


def remove_dead(directory: Path) -> list[Path]:
    """The sockets in `directory` that somebody listens at; the others, whose farms were killed, are
    removed where they may be."""
    alive = []
    for path in sorted(directory.glob("*.sock")):
        if is_alive(path):
            alive.append(path)
        elif _is_entry(path):
            try:
                path.unlink(missing_ok=True)
            except OSError:
                continue  # not ours to remove
    return alive


def is_alive(path: Path) -> bool:
    """Whether somebody listens at `path`, or may do so, as far as this user can tell."""
    try:
        _ask_for_peer(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    except OSError:
        return True  # too busy to let us in, or not ours
    return True


class _Connected(Protocol):
    """A socket: Python's own, or Trio's."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


def peer_of(connected: _Connected) -> Peer | None:
    """Who is at the other end; None where the system doesn't tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    pid, uid, _ = struct.unpack("iII", connected.getsockopt(socket.SOL_SOCKET, option, 12))
    return Peer(pid, uid)


def _see_free(path: Path) -> None:
    if not os.path.lexists(path):
        return
    if not _is_entry(path):
        raise ControlError(f"{path} is no socket")
    if is_alive(path):
        raise ControlError(f"{path} is in use by process {_owner(path)}")


def _owner(path: Path) -> str:
    try:
        peer = _ask_for_peer(path)
    except OSError:
        peer = None
    return str(peer.pid) if peer is not None else path.stem


def _ask_for_peer(path: Path) -> Peer | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        client.connect(str(path))
        return peer_of(client)


def _is_entry(path: Path) -> bool:
    """Whether it is something that farm puts there."""
    return path.is_symlink() or path.is_socket()
