from __future__ import annotations

from farm.storage.pending import Pending


def test_the_oldest_beyond_the_bound_go_and_are_counted() -> None:
    pending = Pending(len, 10)
    for item in ("aaaa", "bbbb", "cc", "d"):
        pending.add(item)
    assert pending.items() == ["bbbb", "cc", "d"]
    assert (len(pending), pending.nbytes, pending.not_kept) == (3, 7, 1)


def test_what_is_put_back_stands_in_front_and_goes_first() -> None:
    pending = Pending(len, 10)
    for item in ("aaaa", "bbbb"):
        pending.add(item)
    taken = pending.take()
    assert (taken, len(pending), pending.nbytes) == (["aaaa", "bbbb"], 0, 0)
    pending.add("cccc")
    pending.put_back(taken)
    assert pending.items() == ["bbbb", "cccc"]
    assert (pending.nbytes, pending.not_kept) == (8, 1)


def test_an_item_beyond_the_bound_is_not_kept() -> None:
    pending = Pending(len, 10)
    pending.add("a" * 11)
    assert (pending.items(), pending.nbytes, pending.not_kept) == ([], 0, 1)
