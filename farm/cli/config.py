"""``farm config``: about configuration files."""

from __future__ import annotations

import json

import cyclopts

from farm.config.schema import config_schema

__all__ = ["config_app"]

config_app = cyclopts.App(name="config", help="About configuration files.")


@config_app.command
def schema() -> None:
    """Print the JSON Schema of configuration files, for editors."""
    print(json.dumps(config_schema(), indent=2))
