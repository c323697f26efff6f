"""Exception groups, taken apart."""

from __future__ import annotations

import pytest
import trio

from farm.groups import leaves, raise_sole, raise_sole_leaf


async def cancelled() -> trio.Cancelled:
    """A real Cancelled; Trio lets nobody make one by hand."""
    caught: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as exc:
            caught.append(exc)
            raise
    return caught[0]


def test_leaves_come_in_order_from_any_depth() -> None:
    a, b, c = ValueError("a"), KeyError("b"), KeyboardInterrupt()
    inner = BaseExceptionGroup("inner", [b, BaseExceptionGroup("innermost", [c])])
    assert leaves(BaseExceptionGroup("outer", [a, inner])) == [a, b, c]


async def test_the_sole_error_comes_out_as_itself() -> None:
    error = ValueError("sole")
    error.__context__ = context = KeyError("before")
    for group in (
        BaseExceptionGroup("", [error]),
        BaseExceptionGroup("", [await cancelled(), error]),
    ):
        with pytest.raises(ValueError, match="sole") as caught:
            raise_sole(group)
        assert caught.value is error
        assert error.__context__ is context


def test_several_errors_stay_a_group() -> None:
    group = ExceptionGroup("", [ValueError("a"), KeyError("b")])
    with pytest.raises(ExceptionGroup) as caught:
        raise_sole(group)
    assert caught.value is group


def test_only_one_level_is_undone() -> None:
    own = ExceptionGroup("own", [ValueError("a")])
    with pytest.raises(ExceptionGroup) as caught:
        raise_sole(ExceptionGroup("nursery", [own]))
    assert caught.value is own


async def test_nothing_but_cancelled_gives_one_cancelled() -> None:
    first = await cancelled()
    with pytest.raises(trio.Cancelled) as caught:
        raise_sole(BaseExceptionGroup("", [first, await cancelled()]))
    assert caught.value is first


async def test_a_real_nursery_is_taken_apart() -> None:
    async def nest() -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                raise OSError("it")
        except BaseExceptionGroup as group:
            raise_sole(group)

    with pytest.raises(OSError, match="it"):
        await nest()


async def test_the_sole_leaf_comes_out_of_any_depth_with_its_cause() -> None:
    error, cause = ValueError("sole"), KeyError("why")
    error.__cause__ = cause
    inner = BaseExceptionGroup("inner", [await cancelled(), error])
    with pytest.raises(ValueError, match="sole") as caught:
        raise_sole_leaf(BaseExceptionGroup("outer", [await cancelled(), inner]))
    assert caught.value is error
    assert caught.value.__cause__ is cause


async def test_several_leaves_stay_the_group_they_were() -> None:
    apart = ExceptionGroup("", [ExceptionGroup("", [ValueError()]), KeyError()])
    cancels = BaseExceptionGroup("", [BaseExceptionGroup("", [await cancelled()])])
    for group in (apart, cancels):
        with pytest.raises(BaseExceptionGroup) as caught:
            raise_sole_leaf(group)
        assert caught.value is group
