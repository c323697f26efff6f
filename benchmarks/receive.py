"""From the socket to whole messages: farm's WebSocket against four others, plain and over TLS.

Run it with ``python -m benchmarks.receive``. A server in a process of its own sends recorded trades
of Binance, a frame each and a TLS record each: as fast as the client takes them, and 5,000 a second
one by one. What counts is the CPU time that the client's process spends for a message: in a flood
its inverse is what one core can take, and a server that lends its core to somebody else for a
moment doesn't count. The client keeps to one core and the server to another.
"""

from __future__ import annotations

import json
import ssl
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec

import attrs

from benchmarks.console import command_line
from benchmarks.machine import pin
from benchmarks.receive_contenders import BUDGETED, CONTENDERS, Meter, Run
from benchmarks.receive_reading import READINGS
from benchmarks.receive_server import HOST, messages_of, order, source
from benchmarks.result import Case, Figure, Report
from benchmarks.rounds import in_rounds

__all__ = ["main", "run"]

FLOOD = 200_000
"""Messages of a flood; fewer for those who take long, see `SHARES`."""

SHARES = {"trio-websocket": 0.1, "websockets": 0.5, "aiohttp": 0.5}

RATE = 5_000
PACED = 10_000
QUICK = 0.05
"""What part of the messages is sent where things are to be quick."""

UNIT = "CPU ns a message"


@attrs.frozen
class Server:
    """Where a server listens, and how to trust it."""

    port: int
    context: ssl.SSLContext | None

    def url(self, count: int, rate: int) -> str:
        return f"ws{'s' if self.context else ''}://{HOST}:{self.port}{order(count, rate)}"


@contextmanager
def serving(*, tls: bool) -> Iterator[Server]:
    """A server in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.receive_server", *(["tls"] if tls else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            told = json.loads(process.stdout.readline())
            context = ssl.create_default_context(cadata=told["authority"]) if tls else None
            yield Server(told["port"], context)
        finally:
            process.kill()


@attrs.frozen
class Trial:
    """One contender at one server, and what it took each time."""

    server: Server
    receive: Run
    count: int
    rate: int
    meters: list[Meter] = attrs.field(factory=list)

    def __call__(self) -> float:
        """CPU nanoseconds a message; RuntimeError where not all came."""
        meter = Meter(self.count)
        self.receive(self.server.url(self.count, self.rate), self.server.context, meter)
        if self.delivered(meter) != 1:
            raise RuntimeError(f"{meter} is not all that was sent")
        self.meters.append(meter)
        return meter.cpu / self.count * 1e9

    def check(self) -> float:
        """The share of the messages and bytes that comes, of a few."""
        few = attrs.evolve(self, count=min(self.count, 2_000))
        meter = Meter(few.count)
        few.receive(few.server.url(few.count, 0), few.server.context, meter)
        return few.delivered(meter)

    def delivered(self, meter: Meter) -> float:
        """The share of messages and bytes that came."""
        nbytes = sum(map(len, messages_of(self.count)))
        if meter.messages > self.count:
            return 0.0
        return min(meter.messages / self.count, meter.nbytes / nbytes)

    def wall(self) -> float:
        """The median, in nanoseconds a message."""
        return statistics.median(meter.wall for meter in self.meters) / self.count * 1e9


def run(rounds: int, quick: bool) -> Report:
    """All cases. The client's process, this one, keeps to one core from now on."""
    pin(0)
    scale = QUICK if quick else 1.0
    with serving(tls=False) as plain, serving(tls=True) as sealed:
        cases = [
            _flood("plain, flood", plain, CONTENDERS, rounds, scale),
            _flood("TLS, a record each, flood", sealed, CONTENDERS, rounds, scale),
            _paced("plain", plain, CONTENDERS | BUDGETED, rounds, scale),
            _paced("TLS", sealed, CONTENDERS | BUDGETED, rounds, scale),
            _flood("reads alone, flood", plain, READINGS, rounds, scale),
            _paced("reads alone", plain, READINGS, rounds, scale),
        ]
    for case, floor, level in ((cases[0], 40.0, 1.5), (cases[1], 15.0, 1.0)):
        case.aim("farm", "trio-websocket", floor)
        case.aim("farm", "picows", level)
    return Report("receive", "From the socket to whole messages", cases)


Contenders = Mapping[str, tuple[Run, tuple[str, ...]]]


def _flood(name: str, server: Server, contenders: Contenders, rounds: int, scale: float) -> Case:
    counts = {name: int(FLOOD * scale * SHARES.get(name, 1.0)) for name in contenders}
    return _case(name, server, contenders, counts, 0, rounds)


def _paced(name: str, server: Server, contenders: Contenders, rounds: int, scale: float) -> Case:
    counts = dict.fromkeys(contenders, int(PACED * scale))
    return _case(f"{name}, {RATE:,} a second", server, contenders, counts, RATE, rounds)


def _case(
    name: str,
    server: Server,
    contenders: Contenders,
    counts: Mapping[str, int],
    rate: int,
    rounds: int,
) -> Case:
    figures = {who: Figure(who) for who in contenders}
    trials = {}
    for who, (receive, needs) in contenders.items():
        if any(find_spec(package) is None for package in needs):
            figures[who].absent = "extra bench"
            continue
        trials[who] = Trial(server, receive, counts[who], rate)
        figures[who].delivered = trials[who].check()
    for who, values in in_rounds(trials, rounds).items():
        figures[who].values = values
        figures[who].extra = {"wall ns": trials[who].wall()}
    return Case(name, UNIT, list(figures.values()), note=f"Binance spot trades, {source()}")


def main() -> None:
    """See the module."""
    command_line("receive", __doc__, run)


if __name__ == "__main__":
    main()
