from __future__ import annotations

from farm.testing.limits import RateWindow, WeightWindow


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
