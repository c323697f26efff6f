from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.storage.raw_text import as_unicode, decode_raw, encode_raw


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_go_there_and_back(raw: bytes) -> None:
    text, encoding = encode_raw(raw)
    assert decode_raw(json.loads(json.dumps(text)), encoding) == raw


def test_text_stays_text() -> None:
    assert encode_raw('{"币":1}'.encode()) == ('{"币":1}', "utf-8")
    assert encode_raw(b"\xff\x00") == ("/wA=", "base64")


@pytest.mark.parametrize(("text", "encoding"), [("a", "latin"), ("/w", "base64"), ("%", "base64")])
def test_what_is_none_of_ours_is_an_error(text: str, encoding: str) -> None:
    with pytest.raises(ValueError, match=r"encoding|base64"):
        decode_raw(text, encoding)


def test_lone_surrogates_are_written_out() -> None:
    assert as_unicode("a\ud800币") == "a\\ud800币"
