"""The command line: ``farm demo``, ``run``, ``replay``, ``streams`` and ``config schema``.

Exit codes: 0 for a run that ended as it should, 1 for one that failed (a recording or a data
directory that can't be used among others), 2 for a command line or a configuration that can't be
used, 130 where Ctrl-C had to be pressed twice.
"""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import attrs
import cyclopts
import trio
from cyclopts import Parameter

from farm import __version__
from farm.api.farm import Farm, open_farm, open_replay
from farm.api.stats import FarmStats
from farm.config import FarmConfig, load_config
from farm.config.schema import config_schema
from farm.errors import ConfigError, FarmError, RecordingError
from farm.exchanges.catalogue import describe_market
from farm.exchanges.registry import MARKETS
from farm.groups import raise_sole_leaf
from farm.pipeline import Settings
from farm.report import Reporter, print_offers
from farm.types import Exchange, Market, NumberMode

__all__ = ["app", "main"]

USAGE_ERROR = 2
INTERRUPTED = 130
START_SECONDS = 30.0  # for the fake exchanges to come up
STOP_SECONDS = 5.0
# Symbols and streams of each market that the demo shows.
DEMO: dict[str, tuple[list[str], list[str]]] = {
    "binance/spot": (["BTCUSDT", "ETHUSDT"], ["trade", "quote", "book", "kline:1m"]),
    "binance/usdm": (["BTCUSDT"], ["trade", "quote", "book", "mark_price"]),
    "bybit/linear": (["BTCUSDT", "ETHUSDT"], ["trade", "quote", "book", "ticker"]),
    "bybit/option": (["BTC-25JUN27-106000-C-USDT"], ["trade", "book", "ticker"]),
}

app = cyclopts.App(
    name="farm",
    help="Collect verified market data from crypto exchanges.",
    version=__version__,
    backend="trio",
)
config_app = cyclopts.App(name="config", help="About configuration files.")
app.command(config_app)

AsJson = Annotated[
    bool, Parameter(name="--json", negative=(), help="Print one JSON object on stdout.")
]
DataOption = Annotated[str | None, Parameter(help="Directory for Parquet files.")]


@app.command
async def demo(
    *,
    seconds: Annotated[float, Parameter(help="How long to collect.")] = 10.0,
    data: DataOption = None,
    seed: Annotated[int, Parameter(help="The same seed makes the same market.")] = 7,
    rate: Annotated[float, Parameter(help="Orders a second for each symbol.")] = 200.0,
    as_json: AsJson = False,
) -> int:
    """Collect from fake exchanges on this machine, Binance spot and USD-M, Bybit linear and option,
    into Parquet. Needs no network. Without --data the files go to demo-data/<time>."""
    _see_positive("--seconds", seconds)
    _see_positive("--rate", rate)
    directory = _directory(data) or Path("demo-data", datetime.now(UTC).strftime("%Y%m%dT%H%M%S"))
    reporter = Reporter("farm demo", as_json=as_json)
    async with _fake_exchanges(seed, rate) as endpoints:
        config = load_config(
            {
                "data": str(directory),
                "collectors": [
                    {
                        "exchange": name.split("/")[0],
                        "market": name.split("/")[1],
                        "symbols": DEMO[name][0],
                        "streams": DEMO[name][1],
                        "endpoints": urls,
                    }
                    for name, urls in endpoints.items()
                ],
            }
        )
        code = await _collect(open_farm(config), reporter, seconds=seconds, data=config.data)
    reporter.note(f"stored in {directory} (Parquet, partitioned by exchange, market, kind, ...)")
    return code


@app.command
async def run(
    config: Annotated[Path | None, Parameter(help="A TOML file; or use the options.")] = None,
    /,
    *,
    exchange: Annotated[str | None, Parameter(help="binance or bybit.")] = None,
    market: Annotated[
        str | None, Parameter(help="spot, usdm, coinm, linear, inverse or option.")
    ] = None,
    symbols: Annotated[
        list[str] | None,
        Parameter(consume_multiple=True, negative=(), help="Such as BTCUSDT ETHUSDT, or '*USDT'."),
    ] = None,
    streams: Annotated[
        list[str] | None,
        Parameter(consume_multiple=True, negative=(), help="Such as trade quote book kline:1m."),
    ] = None,
    market_streams: Annotated[
        list[str] | None,
        Parameter(consume_multiple=True, negative=(), help="Of the whole market: liquidation ..."),
    ] = None,
    lanes: Annotated[int | None, Parameter(help="Connections with the same streams.")] = None,
    data: DataOption = None,
    numbers: Annotated[NumberMode | None, Parameter(help="How numbers are held.")] = None,
    seconds: Annotated[float | None, Parameter(help="Stop by itself after so long.")] = None,
    as_json: AsJson = False,
) -> int:
    """Collect from live endpoints until Ctrl-C; pressed once it stores what was received, pressed
    twice it quits at once."""
    if seconds is not None:
        _see_positive("--seconds", seconds)
    directory = _directory(data)
    chosen = {
        "exchange": exchange,
        "market": market,
        "symbols": symbols,
        "streams": streams,
        "market_streams": market_streams,
        "lanes": lanes,
    }
    given = {name: _words(value) for name, value in chosen.items() if value is not None}
    if config is not None and given:
        return _usage(f"give a configuration file or --{next(iter(given))}, not both")
    if config is None and not given:
        return _usage("give a configuration file, or --exchange, --market and --symbols")
    document: Any = config if config is not None else {"collectors": [given]}
    loaded = load_config(document)
    changes = {"data": directory and directory.absolute(), "numbers": numbers}
    loaded = _changed(loaded, {name: value for name, value in changes.items() if value})
    reporter = Reporter("farm run", as_json=as_json)
    if loaded.data is None:
        reporter.note("nothing is stored: name a directory with --data, or in the configuration")
    return await _collect(open_farm(loaded), reporter, seconds=seconds, data=loaded.data)


@app.command
async def replay(
    file: Annotated[Path, Parameter(help="A recording: *.log.gz or *.jsonl.gz.")],
    /,
    *,
    exchange: Annotated[str | None, Parameter(help="Where the file doesn't say.")] = None,
    market: Annotated[str | None, Parameter(help="Where the file doesn't say.")] = None,
    data: DataOption = None,
    numbers: Annotated[NumberMode, Parameter(help="How numbers are held.")] = NumberMode.FLOAT,
    as_json: AsJson = False,
) -> int:
    """Play a recording through parser, books and storage, as fast as they take it."""
    known = _market(exchange, market)
    settings = Settings(numbers=numbers, data=_directory(data))
    reporter = Reporter(f"farm replay {file.name}", as_json=as_json)
    opening = open_replay(file, settings, market=known)
    return await _collect(opening, reporter, data=settings.data, check=_see_understood)


@app.command
def streams(
    *,
    exchange: Annotated[str | None, Parameter(help="Only this exchange.")] = None,
    market: Annotated[str | None, Parameter(help="Only this market.")] = None,
    as_json: AsJson = False,
) -> int:
    """Print what each market offers, its limits, and what can be proven about each stream."""
    offers = [
        describe_market(rules)
        for rules in MARKETS.values()
        if exchange in (None, rules.exchange.value) and market in (None, rules.market.value)
    ]
    if not offers:
        known = ", ".join(rules.key for rules in MARKETS.values())
        return _usage(f"{exchange or '*'}/{market or '*'} is not spoken here; these are: {known}")
    if as_json:
        print(json.dumps({"markets": [attrs.asdict(offer) for offer in offers]}, indent=2))
    else:
        print_offers(offers)
    return 0


@config_app.command
def schema() -> None:
    """Print the JSON Schema of configuration files, for editors."""
    print(json.dumps(config_schema(), indent=2))


def main(argv: Sequence[str] | None = None) -> None:
    """The ``farm`` command."""
    try:
        code = app(argv, exit_on_error=False, result_action="return_value")
    except cyclopts.CycloptsError:
        code = USAGE_ERROR  # cyclopts has said what is wrong
    except ConfigError as error:
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        code = _usage(f"{error}{notes}")
    except FarmError as error:
        code = _fail(str(error), 1)
    except BrokenPipeError:
        code = 1  # whoever read our output has had enough; stderr may be gone, too
        sys.stdout = None
    except OSError as error:
        code = _fail(f"could not write: {error}", 1)
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code if isinstance(code, int) else 0)


# --------------------------------------------------------------------------------------- collecting
async def _collect(
    opening: AbstractAsyncContextManager[Farm],
    reporter: Reporter,
    *,
    seconds: float | None = None,
    data: Path | None = None,
    check: Callable[[FarmStats], None] = lambda _stats: None,
) -> int:
    """Run a farm and show it, until it ends, the time is over, or the user has had enough."""
    logging.getLogger().addHandler(reporter.log_handler())
    interrupt = Interrupt()
    started = time.monotonic()
    failure: FarmError | None = None
    try:
        try:
            await _run_farm(opening, reporter, interrupt, seconds)
        except BaseExceptionGroup as group:
            raise_sole_leaf(group)
        assert interrupt.farm is not None
        check(interrupt.farm.stats())
    except FarmError as error:
        if interrupt.farm is None:
            raise
        failure = error  # what was collected until then is summed up all the same
    assert interrupt.farm is not None
    more: dict[str, Any] = {
        "seconds": round(time.monotonic() - started, 3),
        "data": str(data) if data else None,
        "error": str(failure) if failure else None,
    }
    reporter.finish(interrupt.farm.stats(), more)
    if failure is not None:
        return _fail(str(failure), 1)
    return INTERRUPTED if interrupt.second else 0


async def _run_farm(
    opening: AbstractAsyncContextManager[Farm],
    reporter: Reporter,
    interrupt: Interrupt,
    seconds: float | None,
) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(interrupt.listen)
        async with opening as farm:
            interrupt.farm = farm
            async with trio.open_nursery() as watching:
                watching.start_soon(reporter.watch, farm)
                with trio.move_on_after(float("inf") if seconds is None else seconds):
                    async with trio.open_nursery() as waiting:
                        waiting.start_soon(_first_of, farm.wait, waiting.cancel_scope)
                        waiting.start_soon(_first_of, interrupt.first.wait, waiting.cancel_scope)
                watching.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


class Interrupt:
    """Ctrl-C and SIGTERM: the first lets the farm drain, the second gives that up."""

    def __init__(self) -> None:
        self.first = trio.Event()
        self.second = False
        self.farm: Farm | None = None

    async def listen(self, task_status: trio.TaskStatus[None]) -> None:
        """Listen until cancelled."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                if not self.first.is_set():
                    self.first.set()
                elif self.farm is not None:
                    self.second = True
                    self.farm.abort()


async def _first_of(wait: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
    await wait()
    scope.cancel()


@asynccontextmanager
async def _fake_exchanges(seed: int, rate: float) -> AsyncIterator[dict[str, dict[str, str]]]:
    """Fake exchanges in a process of their own; their addresses by market.

    The process ends with its stdin, so it outlives nobody. It has a session of its own, for a
    Ctrl-C on the terminal is meant for the farm, which still has to drain.
    """
    command = [sys.executable, "-m", "farm.testing.serve"]
    command += [f"{market}:{','.join(symbols)}" for market, (symbols, _) in DEMO.items()]
    command += ["--seed", str(seed), "--rate", str(rate)]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = b""
        with trio.move_on_after(START_SECONDS):
            while not line.endswith(b"\n") and (part := await process.stdout.receive_some()):
                line += part
        if not line.endswith(b"\n"):
            raise FarmError("the fake exchanges did not start; what they said stands above")
        yield json.loads(line)["endpoints"]
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + STOP_SECONDS):
            await process.stdin.aclose()
            await process.wait()
        if process.returncode is None:
            process.kill()


def _see_understood(stats: FarmStats) -> None:
    """A recording of which not a single frame was understood is one of something else."""
    if stats.totals.frames and not stats.totals.events:
        raise RecordingError("nothing in it was understood: is it of another market?")


def _see_positive(option: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ConfigError(option, f"{value} must be above 0, and finite")


def _directory(data: str | None) -> Path | None:
    if data is not None and not data.strip():
        raise ConfigError("--data", f"{data!r} names no directory")
    return None if data is None else Path(data)


def _market(exchange: str | None, market: str | None) -> tuple[Exchange, Market] | None:
    """The market that --exchange and --market name, if they do."""
    if exchange is None and market is None:
        return None
    if exchange is None or market is None:
        raise ConfigError("--exchange", "goes together with --market")
    for rules in MARKETS.values():
        if rules.key == f"{exchange}/{market}":
            return rules.exchange, rules.market
    known = ", ".join(rules.key for rules in MARKETS.values())
    raise ConfigError("--market", f"{exchange}/{market} is not spoken here; these are: {known}")


def _words(value: str | int | list[str]) -> str | int | list[str]:
    """Lists may be written with commas, too."""
    if not isinstance(value, list):
        return value
    return [word for part in value for word in part.split(",") if word]


def _changed(config: FarmConfig, changes: dict[str, Any]) -> FarmConfig:
    return attrs.evolve(config, **changes) if changes else config


def _usage(message: str) -> int:
    return _fail(message, USAGE_ERROR)


def _fail(message: str, code: int) -> int:
    print(f"farm: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
