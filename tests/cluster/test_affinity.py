"""Processes that are kept on one CPU: new ones, so that the tests' own stays where it is."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from farm.cluster import affinity

CODE = """
import os, sys, threading
from farm.cluster.affinity import pin_to_cpu
stay = threading.Event()
thread = threading.Thread(target=stay.wait)
thread.start()
before = sorted(os.sched_getaffinity(0))
pin_to_cpu(int(sys.argv[1]))
found = os.sched_getaffinity(0), os.sched_getaffinity(thread.native_id)
stay.set()
assert found == ({before[int(sys.argv[1]) % len(before)]},) * 2, (found, before)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system knows no affinity")
@pytest.mark.parametrize("index", [0, 1, 7919])
def test_all_threads_are_kept_on_one_of_the_cpus_round_and_round(index: int) -> None:
    subprocess.run([sys.executable, "-c", CODE, str(index)], check=True, timeout=60)


def test_without_affinity_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise AssertionError("asked")

    monkeypatch.setattr(affinity.os, "sched_getaffinity", refuse, raising=False)
    monkeypatch.delattr(affinity.os, "sched_setaffinity", raising=False)
    affinity.pin_to_cpu(0)


def test_a_refusal_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_pid: int, _cpus: set[int]) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(affinity.os, "sched_getaffinity", lambda _pid: {3, 5}, raising=False)
    monkeypatch.setattr(affinity.os, "sched_setaffinity", refuse, raising=False)
    affinity.pin_to_cpu(1)
    assert [(record.levelno, "not permitted" in record.message) for record in caplog.records] == [
        (logging.WARNING, True)
    ]
