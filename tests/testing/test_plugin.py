"""The pytest plugin, as a user's tests meet it: in a pytest of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent.parent / "README.md"
MOST_LINES = 25


def run_tests(directory: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    (directory / "test_it.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    return subprocess.run(
        [*command, "-o", "trio_mode=true", "test_it.py"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_example_in_the_readme_passes_and_is_short(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    (example,) = [block for block in blocks if "farm_under_test" in block]
    assert len(example.splitlines()) < MOST_LINES
    done = run_tests(tmp_path, example)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_a_strategy_that_does_not_look_at_the_verdict_fails_the_example(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    (example,) = [block for block in blocks if "farm_under_test" in block]
    asked = "book.verdict is BookVerdict.VERIFIED and "
    assert asked in example
    careless = example.replace(asked, "").replace("300 < time < 320", "60 < time < 320")
    assert "1 failed" in run_tests(tmp_path, careless).stdout


BOTH = """
from farm import Trade

async def test_both(autojump_clock, fake_bybit, fake_binance, farm_under_test, tmp_path):
    stores = {"data": str(tmp_path / "data")}
    async with farm_under_test(fake_binance, fake_bybit, streams=["trade"], **stores) as farm:
        seen = set()
        async with farm.subscribe(Trade) as batches:
            async for batch in batches:
                seen |= {(trade.exchange.value, trade.symbol) for trade in batch}
                if len(seen) == 4:
                    break
    assert list((tmp_path / "data").glob("exchange=*/market=*/kind=trade"))
"""

MARKED = """
import pytest
from farm import MarkPrice

@pytest.mark.farm(market="usdm", symbols=["SOLUSDT"], seed=3, rate=50)
async def test_marked(autojump_clock, fake_binance, fake_bybit, farm_under_test):
    assert fake_binance.market.value == "usdm"
    assert fake_bybit.market.value == "linear"  # it has no usdm
    async with farm_under_test(fake_binance, streams=["mark_price"]) as farm:
        async with farm.subscribe(MarkPrice) as batches:
            assert (await batches.receive())[0].symbol == "SOLUSDT"
"""

SOME = """
import pytest, trio
from farm import UnknownSymbol

@pytest.mark.parametrize("exchange", ["binance", "bybit"])
async def test_some(autojump_clock, fake_binance, fake_bybit, farm_under_test, exchange):
    fake = fake_binance if exchange == "binance" else fake_bybit
    async with farm_under_test(fake, streams=["trade"], symbols=["ETHUSDT"]) as farm:
        with pytest.raises(UnknownSymbol):
            farm.subscribe(object, symbols="BTCUSDT") if False else farm.book("BTCUSDT")
"""


RESTARTED = """
import trio
from farm import BookVerdict, Trade

async def test_my_program_restarts(autojump_clock, fake_binance, farm_under_test, fault_script):
    fault_script.reset(at=5)
    for _ in range(2):
        async with farm_under_test(fake_binance, streams=["trade", "book"]) as farm:
            async with farm.subscribe(Trade) as batches:
                await batches.receive()
            await trio.sleep(60)
            assert farm.stats().totals.events > 100
            assert farm.book("BTCUSDT").verdict is BookVerdict.VERIFIED
    assert len({event.time for event in fake_binance.fault_log}) == 2
"""

NAMED_BY_TEXT = """
import pytest

@pytest.mark.farm(symbols="SOLUSDT")
async def test_one(autojump_clock, fake_binance, farm_under_test):
    async with farm_under_test(fake_binance, streams="trade", symbols="SOLUSDT") as farm:
        assert [feed.feed for feed in farm.stats().feeds] == ["binance/spot/SOLUSDT/trade"]
"""


@pytest.mark.parametrize(
    "text",
    [BOTH, MARKED, SOME, RESTARTED, NAMED_BY_TEXT],
    ids=["both", "marked", "some", "restarted", "named_by_text"],
)
def test_fakes_and_farms_are_what_was_asked_for(text: str, tmp_path: Path) -> None:
    done = run_tests(tmp_path, text)
    assert done.returncode == 0, done.stdout


def test_a_failure_shows_the_script(tmp_path: Path) -> None:
    text = """
        import pytest
        @pytest.mark.farm(seed=17)
        async def test_it(fault_script):
            fault_script.reset(at=5).drop("x@trade", at=7, count=2)
            assert False
        def test_another(fault_script):
            pass
    """
    done = run_tests(tmp_path, re.sub(r"^ {8}", "", text, flags=re.MULTILINE))
    shown = done.stdout.partition("fault script")[2]
    assert "# seed 17\n5.0 reset\n7.0 drop x@trade count=2" in shown
    assert "1 failed, 1 passed" in done.stdout


NEVER = "never struck anything: nobody was subscribed to"
STRIKING = """
import pytest, trio
from farm.testing.faults import Drop

async def test_names(autojump_clock, fake_binance, fake_bybit, farm_under_test, fault_script):
    fault_script.drop("BTCUSDT@trade", at=5).drop("btcusdt@trade", at=6).reset(at=500)
    fault_script.drop("publicTrade.BTCUSDT", at=7)
    async with farm_under_test(fake_binance, fake_bybit, streams="trade"):
        await trio.sleep(30)
        fake_binance.strike(Drop(0, "trade"))

async def test_connections(autojump_clock, fake_binance, farm_under_test, fault_script):
    fault_script.reset(at=3, connection="c9")
    async with farm_under_test(fake_binance, streams="trade"):
        await trio.sleep(30)
    assert FINE
"""


def test_faults_that_hit_nothing_are_warned_of(tmp_path: Path) -> None:
    done = run_tests(tmp_path, STRIKING.replace("FINE", "True"))
    assert done.returncode == 0, done.stdout
    near = "btcusdt@trade, ethusdt@trade"
    said = re.findall(r"FaultNeverStruck: the fault (.*)", done.stdout)
    assert said == [
        f"'5.0 drop BTCUSDT@trade' {NEVER} 'BTCUSDT@trade', but to {near}",
        f"'0.0 drop trade' {NEVER} 'trade', but to {near}, publicTrade.BTCUSDT",
        "'3.0 reset connection=c9' never struck anything",
    ]
    strict = run_tests(
        tmp_path,
        STRIKING.replace("FINE", "True"),
        "-W",
        "error::farm.testing.faults.FaultNeverStruck",
    )
    assert "2 passed, 2 errors" in strict.stdout


def test_a_failure_shows_what_never_struck(tmp_path: Path) -> None:
    done = run_tests(tmp_path, STRIKING.replace("FINE", "False"))
    shown = done.stdout.partition("fault script")[2]
    assert "# seed 0\n3.0 reset connection=c9\n# ^ never struck" in shown


def test_a_script_that_is_filled_too_late_says_so(tmp_path: Path) -> None:
    text = """
import pytest

async def test_it(autojump_clock, fake_binance, farm_under_test, fault_script):
    async with farm_under_test(fake_binance, streams=["trade"]):
        with pytest.raises(ValueError, match="'5.0 reset' comes too late"):
            fault_script.reset(at=5)
    assert not fault_script.reset(at=5)[:-1]
"""
    done = run_tests(tmp_path, text)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ('market="mars"', "market='mars'"),
        ("colour=3", "'colour'"),
        ("3", "not 3"),
        ("rate=-1", "rate must be a positive number, not -1"),
        ('market="inverse"', "market='inverse') is of fake_bybit, which the test lacks"),
    ],
)
def test_a_marker_that_cannot_be_used_says_why(arguments: str, said: str, tmp_path: Path) -> None:
    text = f"""
import pytest
@pytest.mark.farm({arguments})
def test_it(fake_binance):
    pass
"""
    done = run_tests(tmp_path, text)
    assert done.returncode != 0
    assert said in done.stdout


def test_the_marker_is_known_and_pytest_starts_without_farm(tmp_path: Path) -> None:
    text = """
import sys, pytest
@pytest.mark.farm(seed=1)
def test_it():
    assert "farm.testing.plugin" in sys.modules
    assert not {"pyarrow", "numpy", "trio_websocket", "farm.api"} & set(sys.modules)
"""
    done = run_tests(tmp_path, text, "--strict-markers")
    assert done.returncode == 0, done.stdout
