from __future__ import annotations

import json

from tests.cli.processes import farm


def test_the_schema_is_json() -> None:
    result = farm("config", "schema")
    assert result.returncode == 0
    assert json.loads(result.stdout)["type"] == "object"
