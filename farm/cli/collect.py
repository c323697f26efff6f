"""``farm demo``, ``farm run`` and ``farm replay``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import attrs
from cyclopts import Parameter

from farm.api.farm import open_farm, open_replay
from farm.cli.exits import usage
from farm.cli.fakes import fake_exchanges
from farm.cli.farming import Interruption, run_farm
from farm.cli.options import (
    AsJson,
    DataOption,
    ProcessesOption,
    ShardOption,
    directory_of,
    market_of,
    see_positive,
    see_share,
)
from farm.config import load_config
from farm.errors import RecordingError
from farm.monitor.stats import FarmStats
from farm.pipeline import Settings
from farm.pipeline.forecast import processes_for
from farm.report import Reporter
from farm.types import NumberMode

__all__ = ["demo", "replay", "run"]

# Symbols and streams of each market that the demo shows.
DEMO: dict[str, tuple[list[str], list[str]]] = {
    "binance/spot": (["BTCUSDT", "ETHUSDT"], ["trade", "quote", "book", "kline:1m"]),
    "binance/usdm": (["BTCUSDT"], ["trade", "quote", "book", "mark_price"]),
    "bybit/linear": (["BTCUSDT", "ETHUSDT"], ["trade", "quote", "book", "ticker"]),
    "bybit/option": (["BTC-25JUN27-106000-C-USDT"], ["trade", "book", "ticker"]),
}


async def demo(
    *,
    seconds: Annotated[float, Parameter(help="How long to collect.")] = 10.0,
    data: DataOption = None,
    seed: Annotated[int, Parameter(help="The same seed makes the same market.")] = 7,
    rate: Annotated[float, Parameter(help="Orders a second for each symbol.")] = 200.0,
    processes: ProcessesOption = 1,
    as_json: AsJson = False,
) -> int:
    """Collect from fake exchanges on this machine, Binance spot and USD-M, Bybit linear and option,
    into Parquet. Needs no network. Without --data the files go to demo-data/<time>."""
    see_positive("--seconds", seconds)
    see_positive("--rate", rate)
    directory = directory_of(data) or Path("demo-data", datetime.now(UTC).strftime("%Y%m%dT%H%M%S"))
    reporter = Reporter("farm demo", as_json=as_json)
    interruption = Interruption()
    symbols = {market: names for market, (names, _) in DEMO.items()}
    async with fake_exchanges(symbols, seed, rate, interruption) as endpoints:
        config = load_config(
            {
                "data": str(directory),
                "processes": processes,
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
        opening = open_farm(config)
        code = await run_farm(opening, reporter, interruption, seconds=seconds, data=config.data)
    reporter.note(f"stored in {directory} (Parquet, partitioned by exchange, market, kind, ...)")
    return code


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
    processes: ProcessesOption | None = None,
    shard: ShardOption = None,
    seconds: Annotated[float | None, Parameter(help="Stop by itself after so long.")] = None,
    as_json: AsJson = False,
) -> int:
    """Collect from live endpoints until Ctrl-C; pressed once it stores what was received, pressed
    twice it quits at once.

    Connections are spread over one process for each core, or as many as --processes or the
    configuration says."""
    if seconds is not None:
        see_positive("--seconds", seconds)
    if shard is not None:
        see_share("--shard", shard)
    directory = directory_of(data)
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
        return usage(f"give a configuration file or --{next(iter(given))}, not both")
    if config is None and not given:
        return usage("give a configuration file, or --exchange, --market and --symbols")
    document: Any = config if config is not None else {"collectors": [given]}
    loaded = load_config(document)
    changes: dict[str, Any] = {
        "data": directory and directory.absolute(),
        "numbers": numbers,
        "processes": processes,
        "shard": shard,
    }
    loaded = attrs.evolve(loaded, **{name: value for name, value in changes.items() if value})
    if loaded.processes is None:
        loaded = attrs.evolve(loaded, processes=processes_for(loaded))
    reporter = Reporter("farm run", as_json=as_json)
    if loaded.data is None:
        reporter.note("nothing is stored: name a directory with --data, or in the configuration")
    return await run_farm(
        open_farm(loaded), reporter, Interruption(), seconds=seconds, data=loaded.data
    )


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
    known = market_of(exchange, market)
    settings = Settings(numbers=numbers, data=directory_of(data))
    reporter = Reporter(f"farm replay {file.name}", as_json=as_json)
    opening = open_replay(file, settings, market=known)
    return await run_farm(
        opening, reporter, Interruption(), data=settings.data, check=_see_understood
    )


def _see_understood(stats: FarmStats) -> None:
    """A recording of which not a single frame was understood is one of something else."""
    if stats.totals.frames and not stats.totals.events:
        raise RecordingError("nothing in it was understood: is it of another market?")


def _words(value: str | int | list[str]) -> str | int | list[str]:
    """Lists may be written with commas, too."""
    if not isinstance(value, list):
        return value
    return [word for part in value for word in part.split(",") if word]
