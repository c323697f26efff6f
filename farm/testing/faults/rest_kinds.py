"""Faults of REST requests."""

from __future__ import annotations

from typing import Literal

import attrs
from attrs.validators import ge, in_, instance_of, optional

from farm.testing.faults.fault import COUNT, LENGTH, STATUS, Fault, one_word

__all__ = [
    "RestFault",
    "RestGarbage",
    "RestReset",
    "RestStatus",
    "RestTimeout",
    "SnapshotTooOld",
]


@attrs.frozen
class RestFault(Fault):
    """Hits the next ``count`` requests whose path fits the pattern ``path``."""

    count: int = attrs.field(default=1, kw_only=True, validator=COUNT)
    path: str = attrs.field(default="*", kw_only=True, validator=one_word)


@attrs.frozen
class RestStatus(RestFault):
    """An answer without a body. ``retry_after``: seconds, in the header of that name."""

    word = "rest_status"

    status: int = attrs.field(default=429, kw_only=True, validator=STATUS)
    retry_after: int | None = attrs.field(
        default=None, kw_only=True, validator=optional([instance_of(int), ge(0)])
    )


@attrs.frozen
class RestTimeout(RestFault):
    """No answer: after ``seconds`` the line is closed."""

    word = "rest_timeout"

    seconds: float = attrs.field(kw_only=True, converter=float, validator=LENGTH)


@attrs.frozen
class RestGarbage(RestFault):
    """Status 200 with ``html``, with the right answer ``truncated``, or ``empty``."""

    word = "rest_garbage"

    how: Literal["html", "truncated", "empty"] = attrs.field(
        default="html", kw_only=True, validator=in_(("html", "truncated", "empty"))
    )


@attrs.frozen
class SnapshotTooOld(Fault):
    """The next ``count`` answers about depth have ids from long before the diffs."""

    word = "snapshot_too_old"

    count: int = attrs.field(default=1, kw_only=True, validator=COUNT)


@attrs.frozen
class RestReset(RestFault):
    """A TCP reset in place of an answer."""

    word = "rest_reset"
