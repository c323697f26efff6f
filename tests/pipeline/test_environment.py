from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from farm.config import load_config
from farm.pipeline import Environment, Settings
from farm.types import NumberMode


def test_settings_are_those_of_the_configuration(tmp_path: Path) -> None:
    one = {"exchange": "binance", "market": "spot", "symbols": ["BTCUSDT"]}
    config = load_config(
        {
            "collectors": [one],
            "numbers": "decimal",
            "data": str(tmp_path),
            "mailbox_bytes": 5,
            "supervision": {"intensity": 9},
            "storage": {"flush_rows": 3},
        }
    )
    settings = Settings.of(config)
    assert settings.numbers is NumberMode.DECIMAL
    assert settings.data == tmp_path
    assert settings.mailbox_bytes == 5
    assert settings.supervision.intensity == 9
    assert settings.storage.flush_rows == 3


def test_defaults_are_those_of_a_configuration() -> None:
    one = {"exchange": "binance", "market": "spot", "symbols": ["BTCUSDT"]}
    assert Settings() == Settings.of(load_config({"collectors": [one]}))


def draws(environment: Environment, name: str) -> list[float]:
    rng = environment.rng(name)
    return [rng.random() for _ in range(3)]


def test_with_a_seed_each_name_draws_its_own_again_and_again() -> None:
    first, second = Environment(seed=7), Environment(seed=7)
    expected = {name: draws(first, name) for name in ("one", "two")}
    assert expected["one"] != expected["two"]
    for name in ("two", "one", "two"):  # in another order, and more often
        assert draws(second, name) == expected[name]
    assert draws(Environment(seed=8), "one") != expected["one"]
    assert draws(Environment(seed="7"), "one") == expected["one"]


def test_without_a_seed_nothing_is_drawn_again() -> None:
    environment = Environment()
    assert draws(environment, "one") != draws(environment, "one")


async def test_streams_are_opened_by_what_is_given_or_by_looking_names_up() -> None:
    looked_up: list[object] = []

    async def look_up(work: Callable[[], Any]) -> Any:
        await trio.lowlevel.checkpoint()
        looked_up.append(work)
        return []

    async def given(host: str, port: int) -> trio.abc.Stream:
        raise NotImplementedError

    assert Environment(open_stream=given, run_sync=look_up).dial is given
    with pytest.raises(OSError, match=r"no address for venue\.test"):
        await Environment(run_sync=look_up).dial("venue.test", 443)
    assert len(looked_up) == 1
