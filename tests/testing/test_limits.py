from __future__ import annotations

from farm.testing.limits import BAN, OK, TOO_MANY, RateWindow, RequestWindow, WeightWindow


def test_a_window_slides() -> None:
    window = RateWindow(2, 1.0)
    assert [window.admit(now) for now in (0.0, 0.5, 0.9, 1.0, 1.2, 1.5)] == [
        True, True, False, True, False, True
    ]  # fmt: skip


def test_no_limit_admits_everything() -> None:
    window = RateWindow(None, 1.0)
    assert all(window.admit(0.0) for _ in range(10_000))


def test_weight_is_counted_until_the_minute_is_over() -> None:
    window = WeightWindow(10, 60.0)
    assert window.spend(6, 100.0)
    assert window.spend(4, 101.0)
    assert not window.spend(1, 159.9)
    assert (window.used, window.retry_after(100.5)) == (11, 60)
    assert window.retry_after(159.9) == 1
    assert window.spend(10, 160.0)
    assert window.used == 10


def test_who_calls_on_after_a_refusal_is_banned() -> None:
    window = WeightWindow(10, 60.0, ban_seconds=120.0)
    assert [window.judge(8, 100.0), window.judge(8, 101.0)] == [OK, TOO_MANY]
    assert window.retry_after(101.0) == 59
    assert window.judge(1, 159.9) == BAN
    assert window.retry_after(159.9) == 120
    assert window.judge(1, 279.0) == BAN
    assert window.judge(1, 280.0) == OK


def test_who_waits_after_a_refusal_is_welcome_again() -> None:
    window = WeightWindow(10, 60.0)
    assert [window.judge(11, 100.0), window.judge(1, 160.0)] == [TOO_MANY, OK]
    assert window.used == 1


def test_a_request_beyond_the_limit_bans_for_ten_minutes() -> None:
    window = RequestWindow(2, 5.0, ban_seconds=600.0)
    assert [window.admit(now) for now in (0.0, 1.0, 5.0)] == [True, True, True]
    assert [window.admit(now) for now in (5.5, 20.0, 605.4)] == [False, False, False]
    assert window.admit(605.5)
    assert all(RequestWindow(None).admit(0.0) for _ in range(10_000))
