from __future__ import annotations

from pathlib import Path

from farm.config import load_config
from farm.pipeline import Settings
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
