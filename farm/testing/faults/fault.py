"""What all faults have, and what their attributes may be."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import attrs
from attrs.validators import ge, gt, instance_of, le

__all__ = [
    "COUNT",
    "LENGTH",
    "STATUS",
    "Fault",
    "finite",
    "one_word",
]


def finite(_: object, field: attrs.Attribute[Any], value: float) -> None:
    """A validator: neither an infinity nor NaN."""
    if not math.isfinite(value):
        raise ValueError(f"'{field.name}' must be a finite number, not {value}")


def one_word(_: object, field: attrs.Attribute[Any], value: str) -> None:
    """A validator: something that stands as one word in a script's text."""
    if value.split() != [value]:
        raise ValueError(f"'{field.name}' must be one word, not {value!r}")


MOMENT = (finite, ge(0.0))
LENGTH = (finite, gt(0.0))
COUNT = (instance_of(int), ge(1))
STATUS = (instance_of(int), ge(400), le(599))


@attrs.frozen
class Fault:
    """Something that goes wrong at a moment."""

    word: ClassVar[str] = ""

    at: float = attrs.field(converter=float, validator=MOMENT)
