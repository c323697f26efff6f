"""The benchmark of reading: everybody gets everything, and who doesn't is found out."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from benchmarks.receive import Server, Trial, serving
from benchmarks.receive_contenders import BUDGETED, CONTENDERS, Meter
from benchmarks.receive_reading import READINGS
from benchmarks.receive_server import messages_of

ALL = CONTENDERS | BUDGETED


@pytest.fixture(scope="module", params=["plain", "tls"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(tls=request.param == "tls") as server:
        yield server


@pytest.mark.parametrize("name", ALL)
def test_everybody_receives_everything(server: Server, name: str) -> None:
    receive, needs = ALL[name]
    if any(find_spec(package) is None for package in needs):
        pytest.skip("needs the extra bench")
    assert Trial(server, receive, 500, 0).check() == 1.0
    assert Trial(server, receive, 200, 5_000)() > 0


@pytest.mark.parametrize("name", READINGS)
def test_reading_alone_receives_everything(name: str) -> None:
    with serving(tls=False) as server:
        assert Trial(server, READINGS[name][0], 500, 0).check() == 1.0


@pytest.mark.parametrize("lost", [("messages", -1), ("messages", 1), ("nbytes", -1)])
def test_who_loses_or_invents_something_is_found_out(server: Server, lost: tuple[str, int]) -> None:
    def receive(_url: str, _context: ssl.SSLContext | None, meter: Meter) -> None:
        meter.messages = meter.wanted
        meter.nbytes = sum(map(len, messages_of(meter.wanted)))
        name, by = lost
        setattr(meter, name, getattr(meter, name) + by)

    trial = Trial(server, receive, 500, 0)
    assert trial.check() < 1
    with pytest.raises(RuntimeError, match="not all"):
        trial()
