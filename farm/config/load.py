"""From a file, a text or a mapping to a checked configuration with absolute paths."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from farm.config.faults import ConfigErrors, Faults, refusal
from farm.config.structure import structure
from farm.config.tables import CollectorConfig, FarmConfig
from farm.config.words import shown

__all__ = ["load_config", "parse_toml"]


def load_config(source: str | Path | Mapping[str, Any] | FarmConfig) -> FarmConfig:
    """The checked configuration of `source`: a TOML file's name, a mapping, or one made already.

    In the result ``data`` and ``ca_file`` are absolute: relative ones are taken from the directory
    of the file, or from the current one where there is no file; ``~`` is the home directory.

    Raises :class:`ConfigErrors` for whatever is wrong, a file that cannot be read included.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        return _from_toml(_read(path), str(path), path.parent)
    return _placed(structure(source, FarmConfig), Path())


def parse_toml(text: str, *, name: str = "<string>") -> FarmConfig:
    """The checked configuration of a TOML text; errors call it `name`.

    Relative paths are taken from the current directory. Raises :class:`ConfigErrors`.
    """
    return _from_toml(text, name, Path())


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise refusal(f"{path}: cannot be read: {_reason(error)}") from error
    try:
        return data.decode("utf-8-sig")  # editors on Windows put a byte order mark before it
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"byte 0x{data[error.start]:02x} in line {line}"
        raise refusal(f"{path}: not UTF-8 text: {byte}") from error


def _reason(error: OSError | ValueError) -> object:
    return getattr(error, "strerror", None) or error


def _from_toml(text: str, name: str, base: Path) -> FarmConfig:
    try:
        document = tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, or an integer of thousands of digits
        raise refusal(f"{name}: not valid TOML: {error}") from error
    except RecursionError as error:
        raise refusal(f"{name}: nested too deeply") from error
    try:
        return _placed(structure(document, FarmConfig), base)
    except ConfigErrors as errors:
        errors.add_note(f"in {name}")
        raise


def _placed(config: FarmConfig, base: Path) -> FarmConfig:
    """`config` with absolute paths, its authority files seen to be readable."""
    faults, data, collectors = Faults(), config.data, list[CollectorConfig]()
    with faults.at("data"):
        data = data and _absolute(data, base)
    for index, collector in enumerate(config.collectors):
        with faults.at(f"collectors[{index}].endpoints.ca_file"):
            collectors.append(_with_authorities(collector, base))
    faults.raise_any()
    return attrs.evolve(config, data=data, collectors=collectors)


def _with_authorities(collector: CollectorConfig, base: Path) -> CollectorConfig:
    if collector.endpoints.ca_file is None:
        return collector
    path = _absolute(collector.endpoints.ca_file, base)
    try:
        path.open("rb").close()
    except (OSError, ValueError) as error:
        raise refusal(f"{shown(str(path))} cannot be read: {_reason(error)}") from error
    return attrs.evolve(collector, endpoints=attrs.evolve(collector.endpoints, ca_file=path))


def _absolute(path: Path, base: Path) -> Path:
    try:
        return (base / path.expanduser()).absolute()
    except (RuntimeError, ValueError) as error:  # no such user
        raise refusal(f"{shown(str(path))}: no home directory is known for it") from error
