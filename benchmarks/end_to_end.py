"""From the socket to trades in the user's loop: farm against peers and against loops by hand.

A server (:mod:`benchmarks.server`) on a core of its own sends recorded Binance trades under new ids
over loopback: in a flood, as fast as they are taken, or at 3,000 a second, each sent by itself. A
reader of its own process takes them on another core, and its user counts them and sums their
quantities. The clocks run from the first trade to the last. Latency is from the server's send to
the user's line. All of farm is running: supervision, mailboxes, continuity, counters, verdicts.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import attrs

from benchmarks.console import command_line
from benchmarks.contenders.field import FARM, FARM_2_MS, PICOWS, all_contenders
from benchmarks.contenders.race import Contender, Outcome, RaceFailed, race
from benchmarks.result import Case, Figure, Report
from benchmarks.rounds import in_rounds
from benchmarks.server_load import Load, symbols_named

__all__ = ["Course", "courses", "main", "run", "run_course"]

RATE = 3_000.0
"""Trades a second of a paced load: a busy market's."""

TRIAL = 50
"""Trades of each connection in a trial before the timing."""

SERVER = Contender("the server alone", "drain")


@attrs.frozen
class Course:
    """One comparison: a load over so many connections, each of which has a symbol of its own."""

    name: str
    load: Load
    connections: int

    @property
    def is_flood(self) -> bool:
        return not self.load.rate


def courses(quick: bool) -> list[Course]:
    """What is run: a flood and a paced load, over one connection and, unless `quick`, over 50."""
    flood, paced = (20_000, int(RATE / 2)) if quick else (200_000, int(5 * RATE))

    def course(name: str, total: int, rate: float, connections: int, tls: str = "plain") -> Course:
        return Course(name, Load(symbols_named(connections), total, rate, tls=tls), connections)

    made = [
        course("flood, 1 connection", flood, 0.0, 1),
        course("flood, 50 connections", flood, 0.0, 50),
        course("flood, 1 connection, TLS, a record a message", flood, 0.0, 1, "records"),
        course("3,000/s, 1 connection", paced, RATE, 1),
        course("3,000/s, 50 connections", paced, RATE, 50),
    ]
    return [c for c in made if c.connections == 1 and c.load.tls == "plain"] if quick else made


def run(rounds: int, quick: bool) -> Report:
    """All courses. `quick` leaves out who takes long to start, and 50 connections."""
    contenders = all_contenders()
    if quick:
        reason = "left out of quick runs"
        contenders = [c if c.quick else attrs.evolve(c, absent=reason) for c in contenders]
    cases = [run_course(course, contenders, rounds, trial=not quick) for course in courses(quick)]
    return Report("end_to_end", "Socket to trades in the user's loop", cases)


def run_course(
    course: Course, contenders: list[Contender], rounds: int, *, trial: bool = True
) -> Case:
    """One comparison, the contenders in shuffled order.

    With `trial` a peer that fails in a short course beforehand is absent; RaceFailed for farm then,
    and for all later.
    """
    contenders = [c for c in contenders if course.is_flood or not c.options.get("columns")]
    if trial:
        contenders = [_tried(contender, course) for contender in contenders]
    outcomes: dict[str, list[Outcome]] = {}

    def runner(contender: Contender) -> Callable[[], float]:
        def run_once() -> float:
            outcome = race(contender, course.load, course.connections)
            outcomes.setdefault(contender.name, []).append(outcome)
            return outcome.rate if course.is_flood else outcome.cpu_each

        return run_once

    server = race(SERVER, course.load, course.connections) if course.is_flood else None
    values = in_rounds({c.name: runner(c) for c in contenders if c.absent is None}, rounds)
    figures = [
        Figure(c.name, absent=c.absent)
        if c.absent is not None
        else _figure(c.name, values[c.name], outcomes[c.name], course)
        for c in contenders
    ]
    if server is None:
        note = "latency from the server's send to the user's line"
        return _with_goals(Case(course.name, "CPU us an event", figures, note=note))
    note = f"the server alone, its bytes read and not looked at: {server.rate:,.0f}"
    case = Case(course.name, "events/s", figures, lower_is_better=False, note=note)
    return _with_goals(case)


def _tried(contender: Contender, course: Course) -> Contender:
    """The contender after a short course of this kind, absent where it fails in it."""
    if contender.absent is not None:
        return contender
    load = attrs.evolve(course.load, total=course.connections * TRIAL)
    try:
        race(attrs.evolve(contender, share=1.0), load, course.connections)
    except RaceFailed as error:
        if contender.is_ours:
            raise
        return attrs.evolve(contender, absent=f"failed: {str(error).splitlines()[-1]}")
    return contender


def _figure(name: str, values: list[float], outcomes: list[Outcome], course: Course) -> Figure:
    def median(of: Callable[[Outcome], float]) -> float:
        return statistics.median(map(of, outcomes))

    if course.is_flood:
        extra = {"CPU us": median(lambda o: o.cpu_each)}
    else:
        extra = {
            "p50 us": median(lambda o: o.latency(50)),
            "p99 us": median(lambda o: o.latency(99)),
            "max us": median(lambda o: o.latency(100)),
        }
    return Figure(name, values, median(lambda o: o.delivered), extra=extra)


def _with_goals(case: Case) -> Case:
    """The case with what is to be reached, as far as those who are compared take part."""
    names = {figure.contender for figure in case.figures}
    peers = ("cryptofeed 2", "cryptofeed 3")
    aim: Callable[[str, str, float], None]
    if case.lower_is_better:
        aims = [(FARM, peer, 1.0) for peer in peers] + [(FARM_2_MS, PICOWS, 1.0)]
        aim = case.aim_time
    else:
        aims = [(FARM, peer, 6.0) for peer in peers] + [(FARM, PICOWS, 1.0)]
        aim = case.aim
    for ours, theirs, goal in aims:
        if {ours, theirs} <= names:
            aim(ours, theirs, goal)
    return case


def main() -> None:
    command_line("end_to_end", __doc__, run)


if __name__ == "__main__":
    main()
