"""Where the real recordings are: FARM_CAPTURES, else ``../shared/captures`` beside the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "captures"


def recording(name: str) -> Path:
    """The path of a recording. Without it the test is skipped, but fails where CI is set."""
    path = Path(os.environ.get("FARM_CAPTURES") or _DEFAULT) / name
    if not path.is_file():
        reason = f"no recording {path}; point FARM_CAPTURES at the recordings"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def payload_file(name: str) -> Path:
    """The path of a file of single frames, beside the recordings; missing as in `recording`."""
    return recording(f"../payloads/{name}")
