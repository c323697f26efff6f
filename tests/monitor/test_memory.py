"""The memory of this process, as the system tells it."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import pytest

from farm.monitor import memory
from farm.monitor.memory import resident_bytes

MB = 1 << 20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system has no /proc")
def test_memory_that_is_used_is_counted_and_given_back() -> None:
    before = resident_bytes()
    with mmap.mmap(-1, 64 * MB) as taken:
        for page in range(0, len(taken), mmap.PAGESIZE):
            taken[page] = 1
        assert 48 * MB < resident_bytes() - before < 80 * MB
    assert resident_bytes() - before < 16 * MB


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_without_proc_it_is_the_most_that_there_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str, unit: int
) -> None:
    most = memory.resource.getrusage(memory.resource.RUSAGE_SELF).ru_maxrss
    monkeypatch.setattr(memory, "_STATM", tmp_path / "nothing")
    monkeypatch.setattr(sys, "platform", platform)
    assert most * unit <= resident_bytes() < 2 * most * unit
