"""Exception groups, taken apart: Trio's nurseries wrap even a single error in one."""

from __future__ import annotations

from typing import Any, NoReturn

import trio

__all__ = ["leaves", "raise_sole", "raise_sole_leaf"]


def leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    """The errors in `group` and in the groups within it, in order."""
    found: list[BaseException] = []
    for exc in group.exceptions:
        found += leaves(exc) if isinstance(exc, BaseExceptionGroup) else [exc]
    return found


def raise_sole(group: BaseExceptionGroup[Any]) -> NoReturn:
    """Raise the one error of a nursery as itself, the group only where there are several.

    Only the nursery's own level is undone: a group that its body raised stays what it was.
    Cancelled counts only where there is nothing else.
    """
    errors = [exc for exc in group.exceptions if not isinstance(exc, trio.Cancelled)]
    if len(errors) > 1:
        raise group
    sole = errors[0] if errors else group.exceptions[0]
    context = sole.__context__
    try:
        raise sole
    finally:
        sole.__context__ = context  # `raise` has put the group there, which holds `sole`
        del sole, errors, context


def raise_sole_leaf(group: BaseExceptionGroup[Any]) -> NoReturn:
    """Raise the one error at the bottom of nested nurseries as itself, else the group.

    For code that owns all the nurseries in question. Cancelled counts only where there is nothing
    else.
    """
    errors = [exc for exc in leaves(group) if not isinstance(exc, trio.Cancelled)]
    if len(errors) != 1:
        raise group
    raise_sole(BaseExceptionGroup(group.message, errors))
