"""The end-to-end benchmark: its server sends what it says, and everyone who is here takes it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from benchmarks import end_to_end
from benchmarks.contenders import race as races
from benchmarks.contenders.field import FARM, FARM_2_MS, PICOWS, all_contenders
from benchmarks.contenders.race import Contender, Outcome, RaceFailed, race
from benchmarks.end_to_end import Course, courses, run_course
from benchmarks.payloads import frames_of
from benchmarks.server_line import framed
from benchmarks.server_load import FIRST_ID, Load, greeting, messages, symbols_named, volume_of
from farm.types import Exchange, Market

ROOT = Path(__file__).parents[2]
NAMES = [
    FARM,
    "farm, columns",
    FARM_2_MS,
    "cryptofeed 2",
    "cryptofeed 3",
    "ccxt.pro",
    "websockets + orjson by hand",
    PICOWS,
]


@pytest.fixture(scope="module")
def contenders() -> dict[str, Contender]:
    return {contender.name: contender for contender in all_contenders()}


# --------------------------------------------------------------------------------- what is sent
@pytest.mark.parametrize(("kind", "id_field"), [("trade", "t"), ("bookTicker", "u")])
def test_what_is_sent_is_what_was_recorded_but_for_the_id(kind: str, id_field: str) -> None:
    load = Load(["BTCUSDT"], 50, kinds=[kind])
    recorded, _ = frames_of(Exchange.BINANCE, Market.SPOT, f"@{kind}".encode(), 50)
    for message, frame in zip(
        messages(load, [f"btcusdt@{kind}"], raw=False), recorded, strict=True
    ):
        number = json.loads(frame)["data"][id_field]
        assert message.payload.replace(b"%d" % message.id, b"%d" % number) == frame


def test_an_aggregate_is_the_fill_that_it_consists_of() -> None:
    load = Load(["BTCUSDT"], 50)
    fills = messages(load, ["btcusdt@trade"], raw=True)
    aggregates = messages(load, ["btcusdt@aggTrade"], raw=True)
    for fill, aggregate in zip(fills, aggregates, strict=True):
        was, now = json.loads(fill.payload), json.loads(aggregate.payload)
        assert now["a"] == now["f"] == now["l"] == was["t"]
        assert {k: now[k] for k in "EspqTm"} == {k: was[k] for k in "EspqTm"}


def test_ids_step_by_one_in_each_symbol_and_no_two_symbols_share_one() -> None:
    load = Load(symbols_named(5), 100, greet=True)
    streams = [f"{symbol.lower()}@trade" for symbol in load.symbols]
    greeted = [(name, greeting(load, name, raw=False)) for name in streams]
    sent = list(messages(load, streams, raw=False))
    assert len(sent) == 100
    ids: dict[str, list[int]] = {name: [message.id] for name, message in greeted}
    for message in sent:
        parsed = json.loads(message.payload)
        assert parsed["data"]["t"] == message.id
        assert parsed["data"]["s"].lower() == parsed["stream"].removesuffix("@trade")
        ids[parsed["stream"]].append(message.id)
    assert sorted(chain.from_iterable(ids.values())) == list(range(FIRST_ID, FIRST_ID + 105))
    for of_one in ids.values():
        assert of_one == list(range(of_one[0], of_one[0] + 21))


def test_the_volume_is_the_sum_of_what_is_sent() -> None:
    load = Load(symbols_named(3), 300)
    streams = [f"{symbol.lower()}@trade" for symbol in load.symbols]
    quantities = [float(json.loads(m.payload)["q"]) for m in messages(load, streams, raw=True)]
    assert volume_of(load) == pytest.approx(sum(quantities))


def test_a_thousand_symbols_have_a_thousand_names() -> None:
    names = symbols_named(1000)
    assert len(set(names)) == len(names) == 1000
    assert {len(name) for name in names} == {len("BTCUSDT")}


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535])
def test_frames_are_as_long_as_they_say(size: int) -> None:
    frame = framed(b"x" * size)
    assert frame[0] == 0x81
    if size < 126:
        assert (frame[1], len(frame)) == (size, size + 2)
    else:
        assert (frame[1], int.from_bytes(frame[2:4]), len(frame)) == (126, size, size + 4)


# ------------------------------------------------------------------------------------- the race
@pytest.mark.parametrize("name", NAMES)
def test_who_is_here_takes_every_trade_with_its_own_quantity(
    name: str, contenders: dict[str, Contender]
) -> None:
    contender = attrs.evolve(contenders[name], share=1.0)
    if contender.absent is not None:
        pytest.skip(contender.absent)
    outcome = race(contender, Load(symbols_named(2), 400), 2)
    if contender.lossy:
        assert 0 < outcome.events <= 400
    else:
        assert (outcome.events, outcome.delivered, outcome.right) == (400, 1.0, True)
    assert outcome.sent["messages"] == 400


@pytest.mark.parametrize("tls", ["plain", "tls", "records"])
def test_every_trade_that_is_sent_by_itself_has_a_latency(tls: str) -> None:
    farm = Contender("farm", "farm_trades")
    outcome = race(farm, Load(symbols_named(3), 300, rate=3000.0, tls=tls), 2)
    assert len(outcome.latencies) == outcome.events == 300
    assert outcome.latencies.min() > 0
    assert outcome.more["gaps"] == 0


def test_trades_that_do_not_come_are_missed() -> None:
    script = (
        "from benchmarks.contenders import tally\n"
        "from benchmarks.contenders.task import Task\n"
        "import time\n"
        "tally.PATIENCE, tally.LOOK = 0.1, 0.02\n"
        "take = tally.Tally(Task('', '', None, [['X']], 3, 7, False, '')).take\n"
        "take('7', 0.5); take('8', 0.25); time.sleep(60)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    told = json.loads(done.stdout)
    assert (told["events"], told["volume"]) == (2, 0.75)


def test_who_loses_trades_and_may_not_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"events": 9, "seconds": 1.0, "cpu": 1.0, "volume": 1.0}
    monkeypatch.setattr(races, "told_by", lambda *_: dict(told))
    monkeypatch.setattr(races.Running, "report", lambda _self: {"messages": 10, "volume": 1.0})
    with pytest.raises(RaceFailed, match=r"90\.00%"):
        race(Contender("someone", "drain"), Load(["BTCUSDT"], 10), 1)
    assert race(Contender("ccxt", "drain", lossy=True), Load(["BTCUSDT"], 10), 1).delivered == 0.9


def test_who_does_not_start_says_why() -> None:
    with pytest.raises(RaceFailed, match=r"No module named .*nobody"):
        race(Contender("nobody", "nobody"), Load(["BTCUSDT"], 10), 1)


def test_a_server_ends_with_the_one_who_started_it(tmp_path: Path) -> None:
    load = json.dumps(attrs.asdict(Load(["BTCUSDT"], 10)))
    command = [sys.executable, "-m", "benchmarks.server", load, str(tmp_path / "sent")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=ROOT) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["port"] > 0
        process.communicate()  # closes its stdin
    assert process.returncode == 1


# ----------------------------------------------------------------------------------- the report
def outcome(rate: float, cpu_each: float) -> Outcome:
    return Outcome(1000, 1000 / rate, cpu_each / 1000, 1.0, True, np.arange(100.0), {}, {})


def raced(by_name: dict[str, Outcome]) -> Callable[..., Outcome]:
    return lambda contender, *_: by_name[contender.name]


def test_goals_are_ratios_within_a_course(monkeypatch: pytest.MonkeyPatch) -> None:
    by_name = {
        "farm": outcome(601.0, 32.0),
        "farm, latency_budget 2 ms": outcome(600.0, 20.0),
        "cryptofeed 2": outcome(100.0, 40.0),
        "picows + msgspec by hand": outcome(1200.0, 10.0),
        "the server alone": outcome(9000.0, 1.0),
    }
    monkeypatch.setattr(end_to_end, "race", raced(by_name))
    taking_part = [Contender(name, "m") for name in list(by_name)[:-1]]
    taking_part.append(Contender("cryptofeed 3", "m", absent="none was found"))
    flood = run_course(Course("flood", Load(["A"], 10), 1), taking_part, 2)
    assert [goal.ratio for goal in flood.goals] == pytest.approx([6.01, 601 / 1200])
    assert [goal.met for goal in flood.goals] == [True, False]
    assert flood.figure("farm").values == pytest.approx([601.0, 601.0])
    assert flood.figure("cryptofeed 3").absent == "none was found"
    assert "9,000" in flood.note
    paced = run_course(Course("paced", Load(["A"], 10, rate=9.0), 1), taking_part, 1)
    assert [goal.ratio for goal in paced.goals] == pytest.approx([0.8, 2.0])
    assert [goal.met for goal in paced.goals] == [True, False]
    assert paced.figure("farm").extra == pytest.approx(
        {"p50 us": 49.5, "p99 us": 98.01, "max us": 99.0}
    )


def test_a_peer_that_fails_beforehand_is_absent_and_farm_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fake(contender: Contender, *_: object) -> Outcome:
        if contender.name == "weak":
            raise RaceFailed("weak: exit code 1\nwhat it said last")
        return outcome(100.0, 10.0)

    monkeypatch.setattr(end_to_end, "race", fake)
    course = Course("flood", Load(["A"], 10), 1)
    case = run_course(course, [Contender("farm", "farm_trades"), Contender("weak", "m")], 1)
    assert case.figure("farm").values == [100.0]
    assert case.figure("weak").absent == "failed: what it said last"
    with pytest.raises(RaceFailed):
        run_course(course, [Contender("weak", "farm_trades")], 1)


def test_a_quick_run_leaves_out_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Any] = []

    def fake(contender: Contender, load: Load, connections: int) -> Outcome:
        ran.append((contender.name, connections))
        return outcome(100.0, 10.0)

    monkeypatch.setattr(end_to_end, "race", fake)
    report = end_to_end.run(1, True)
    assert {connections for _, connections in ran} == {1}
    assert not [name for name, _ in ran if name.startswith(("cryptofeed", "ccxt"))]
    assert [case.name for case in report.cases] == [course.name for course in courses(True)]
    assert json.dumps(report.to_json())
    assert {course.connections for course in courses(False)} == {1, 50}
