from __future__ import annotations

import os
from pathlib import Path
from typing import IO

import pytest

from farm.storage.files import write_file


def content(file: IO[bytes]) -> None:
    file.write(b"new")


def flushed_name(descriptor: int) -> str:
    return Path(f"/proc/self/fd/{descriptor}").readlink().name


def test_a_file_is_written_with_its_directories(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "file"
    assert write_file(target, tmp_path / "temporary", content) == 3
    assert target.read_bytes() == b"new"
    assert not (tmp_path / "temporary").exists()


def test_what_stood_there_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    write_file(tmp_path / "file", tmp_path / "temporary", content)
    assert (tmp_path / "file").read_bytes() == b"new"


def test_the_target_appears_only_after_its_content_was_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file"
    flushed: list[tuple[str, bool]] = []

    def fsync(descriptor: int) -> None:
        name = flushed_name(descriptor)
        flushed.append((name, target.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_file(target, tmp_path / "temporary", content)
    assert flushed == [("temporary", False), (tmp_path.name, True)]


def test_new_directories_are_flushed_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: flushed.append(flushed_name(fd)))
    write_file(tmp_path / "a" / "b" / "file", tmp_path / "temporary", content)
    assert flushed == [tmp_path.name, "a", "temporary", "b"]


def test_a_writer_that_raises_leaves_nothing(tmp_path: Path) -> None:
    def fail(file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError(28, "disk full")

    with pytest.raises(OSError, match="disk full"):
        write_file(tmp_path / "file", tmp_path / "temporary", fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", [1, 2])  # the file's flush, the directory's
def test_a_flush_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    calls = 0

    def fsync(_descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(5, "bad disk")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="bad disk"):
        write_file(tmp_path / "file", tmp_path / "temporary", content)
    assert list(tmp_path.iterdir()) == []
