"""Exit codes, and how the command line says what went wrong."""

from __future__ import annotations

import sys

__all__ = ["FAILED", "INTERRUPTED", "USAGE_ERROR", "fail", "usage"]

FAILED = 1
USAGE_ERROR = 2
INTERRUPTED = 130


def fail(message: str, code: int = FAILED) -> int:
    """Say on stderr what is wrong; the exit code."""
    print(f"farm: {message}", file=sys.stderr)
    return code


def usage(message: str) -> int:
    """Say what is wrong with the command line or the configuration; the exit code."""
    return fail(message, USAGE_ERROR)
