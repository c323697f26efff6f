"""A runtime directory for a test, with a path that is short enough for sockets."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest


@contextmanager
def own_runtime_directory() -> Iterator[Path]:
    """Farms of this test's have their sockets here, and meet no others."""
    with tempfile.TemporaryDirectory(prefix="farm") as name, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", name)
        yield Path(name, "farm")


def names_in(directory: Path) -> list[str]:
    """What is in a directory, in order."""
    return sorted(path.name for path in directory.iterdir())


@contextmanager
def crowd_at(path: Path) -> Iterator[None]:
    """So many clients at a socket whose server sleeps that the kernel lets no more wait."""
    with ExitStack() as stack:
        for _ in range(100):
            client = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            client.setblocking(False)
            try:
                client.connect(str(path))
            except BlockingIOError:
                break
        else:
            pytest.fail("all of them may wait")
        yield
