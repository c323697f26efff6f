from __future__ import annotations

import pickle
from enum import Enum

import pytest

from farm import types
from farm.types import BookVerdict, TimeFrame, Word

WORDS = [kind for kind in vars(types).values() if isinstance(kind, type) and issubclass(kind, Word)]


@pytest.mark.parametrize("kind", WORDS[1:] if WORDS[0] is Word else WORDS)
def test_words_are_themselves_wherever_they_went(kind: type[Enum]) -> None:
    """Their hash is their address, so a copy that is another object would be lost in a dict."""
    for member in kind:
        assert pickle.loads(pickle.dumps(member)) is member
        assert {member: 1}[kind(member.value)] == 1


def test_all_five_verdicts_and_the_case_of_months() -> None:
    assert {verdict.value for verdict in BookVerdict} == {
        "syncing",
        "verified",
        "suspect",
        "unverifiable",
        "stale",
    }
    assert TimeFrame("1m") is not TimeFrame("1M")
