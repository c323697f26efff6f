"""Configuration: what to collect, from where, and with what limits.

A TOML file (or a mapping of the same shape, or these classes built in Python)::

    numbers = "float"           # or "decimal": exact, and each costs six times the time
    data = "market-data"        # Parquet goes here; relative to this file

    [[collectors]]
    exchange = "binance"
    market = "spot"
    symbols = ["BTCUSDT", "ETHUSDT"]
    streams = ["trade", "quote", "book", "kline:1m"]

    [[collectors]]
    exchange = "bybit"
    market = "linear"
    symbols = ["BTCUSDT"]
    streams = ["trade", "book:50"]
    endpoints = { ws = "wss://proxy.example:9443" }

    [supervision]
    escalate = "park"

    [storage]
    flush_seconds = 300

Types are strict: ``"7"`` and ``7.0`` are not 7, and ``true`` is not 1. Everything that is wrong is
reported at once, by :class:`ConfigErrors`, each fault with its path.

One place for each rule: what concerns a single value stands in its field's metadata (keywords of
JSON Schema, which :mod:`farm.config_schema` publishes as they are) or in the hook of its type;
what concerns its content, or several values together, in its table's ``_checks``.
"""

from __future__ import annotations

import math
import re
import reprlib
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin
from urllib.parse import urlsplit

import attrs
import cattrs
from cattrs.cols import homogenous_tuple_structure_factory
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn

from farm.errors import ConfigError
from farm.exchanges.registry import MARKETS, rules_of
from farm.exchanges.rules import MarketRules
from farm.exchanges.streams import Stream
from farm.types import Exchange, Market, NumberMode

__all__ = [
    "CollectorConfig",
    "ConfigErrors",
    "Endpoints",
    "FarmConfig",
    "StorageConfig",
    "SupervisionConfig",
    "known_values",
    "load_config",
    "parse_toml",
    "stream_specs_help",
]

MIB = 1 << 20

SYMBOL_PATTERN = r"^[^\sa-z/\\@=\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2060\ufeff]+$"
"""A symbol of these venues: any script, no ASCII lower case, nothing invisible, no separator."""

SCHEMES = {"ws": ("ws", "wss"), "rest": ("http", "https")}


class ConfigErrors(ConfigError):
    """Everything that is wrong with a configuration: ``errors``, never empty.

    ``str()`` gives one line for each; ``path`` and ``message`` are those of the first.
    """

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors = tuple(errors)
        super().__init__(self.errors[0].path, self.errors[0].message)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


# The constructors accept more than the attributes hold, and these say so to a type checker. The
# conversion itself is done by the hooks that read a document, in `_Table.__attrs_post_init__`.
def _exchange(value: Exchange | str) -> Exchange:
    return cast("Exchange", value)


def _market(value: Market | str) -> Market:
    return cast("Market", value)


def _numbers(value: NumberMode | str) -> NumberMode:
    return cast("NumberMode", value)


def _path(value: Path | str | None) -> Path | None:
    return cast("Path | None", value)


def _texts(value: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return cast("tuple[str, ...]", value)


def _collectors(
    value: list[CollectorConfig] | tuple[CollectorConfig, ...],
) -> tuple[CollectorConfig, ...]:
    return cast("tuple[CollectorConfig, ...]", value)


def _base_url(value: str | None) -> str | None:
    if isinstance(value, str) and not value.endswith("//"):
        return value.removesuffix("/")  # the venue's path is appended
    return value


def _says(description: str, **schema: Any) -> dict[str, Any]:
    """A field's metadata: what it means and its bounds, in the keywords of JSON Schema."""
    return {"description": description, **schema}


def _url(description: str, schemes: tuple[str, ...]) -> dict[str, Any]:
    return _says(description, pattern=rf"^({'|'.join(schemes)})://[^/?#\s]+")


@attrs.frozen
class _Table:
    """A table of the configuration: checked and converted, however it was made."""

    def __attrs_post_init__(self) -> None:
        good, errors = _sift(type(self), attrs.asdict(self, recurse=False))
        errors += self._checks(good)
        if errors:
            raise ConfigErrors(errors)
        for name, value in good.items():
            object.__setattr__(self, name, value)

    @classmethod
    def _checks(cls, good: Mapping[str, Any]) -> Iterator[ConfigError]:
        """The rules that the `good` values, those of the right type, break; some may be absent."""
        for field in attrs.fields(cls):
            if field.name in good:
                yield from _bound_faults(field.name, good[field.name], field.metadata)


@attrs.frozen
class Endpoints(_Table):
    """Addresses to use in place of the venue's own; None keeps the venue's.

    ``ca_file`` holds authorities (PEM) to trust besides the system's, for tests and proxies.
    """

    ws: str | None = attrs.field(
        default=None,
        converter=_base_url,
        metadata=_url("WebSocket base address, to which the venue's path is added.", SCHEMES["ws"]),
    )
    rest: str | None = attrs.field(
        default=None,
        converter=_base_url,
        metadata=_url("REST base address, to which the venue's path is added.", SCHEMES["rest"]),
    )
    ca_file: Path | None = attrs.field(
        default=None,
        converter=_path,
        metadata=_says("PEM file of more authorities to trust, relative to this file."),
    )

    @classmethod
    def _checks(cls, good: Mapping[str, Any]) -> Iterator[ConfigError]:
        yield from super()._checks(good)
        for name, schemes in SCHEMES.items():
            url = good.get(name)
            fault = None if url is None else _url_fault(url, schemes)
            if fault:
                yield ConfigError(name, f"{_shown(url)} {fault}")


@attrs.frozen
class CollectorConfig(_Table):
    """What to collect on one market: each of ``streams`` for each of ``symbols``.

    Symbols are the venue's own names; :func:`stream_specs_help` tells what a market offers.
    """

    exchange: Exchange = attrs.field(
        converter=_exchange, metadata=_says("The venue to collect from.")
    )
    market: Market = attrs.field(converter=_market, metadata=_says("A market of the venue."))
    symbols: tuple[str, ...] = attrs.field(
        converter=_texts,
        metadata=_says(
            "Instruments by the venue's own names, such as BTCUSDT.",
            minItems=1,
            uniqueItems=True,
            items={"pattern": SYMBOL_PATTERN},
        ),
    )
    streams: tuple[str, ...] = attrs.field(
        default=("trade",),
        converter=_texts,
        metadata=_says(
            "What to collect of each symbol: trade, quote, book, kline:1m and so on.",
            minItems=1,
            uniqueItems=True,
        ),
    )
    endpoints: Endpoints = attrs.field(
        factory=Endpoints, metadata=_says("Addresses to use in place of the venue's own.")
    )

    def streams_of(self) -> list[Stream]:
        """Every stream of every symbol, as the market's rules make them."""
        table = rules_of(self.exchange, self.market).streams
        return [table.stream(symbol, spec) for symbol in self.symbols for spec in self.streams]

    @classmethod
    def _checks(cls, good: Mapping[str, Any]) -> Iterator[ConfigError]:
        yield from super()._checks(good)
        for index, symbol in enumerate(good.get("symbols", ())):
            if fault := _symbol_fault(symbol):
                yield ConfigError(f"symbols[{index}]", f"{_shown(symbol)} {fault}")
        exchange, market = good.get("exchange"), good.get("market")
        if exchange is None or market is None:
            return
        if rules := MARKETS.get((exchange, market)):
            yield from _stream_faults(good.get("streams", ()), rules)
        else:
            spoken = _listed(m.value for e, m in MARKETS if e is exchange)
            message = (
                f"farm does not collect {market.value!r} of {exchange.value}; possible: {spoken}"
            )
            yield ConfigError("market", message)


@attrs.frozen
class SupervisionConfig(_Table):
    """How failures are met; durations are seconds.

    Network trouble backs off and never counts as a crash. An actor that crashes more than
    ``intensity`` times in ``period`` is given up: ``raise`` then ends the farm, ``park`` stops
    that actor alone.
    """

    backoff_initial: float = attrs.field(
        default=0.5,
        metadata=_says("Bound of the first wait before a reconnect.", exclusiveMinimum=0),
    )
    backoff_cap: float = attrs.field(
        default=30.0,
        metadata=_says("Bound of every wait, at least backoff_initial.", exclusiveMinimum=0),
    )
    healthy_after: float = attrs.field(
        default=60.0,
        metadata=_says("Seconds of health after which backoff starts over.", exclusiveMinimum=0),
    )
    intensity: int = attrs.field(
        default=5, metadata=_says("Crashes of one actor allowed within period.", minimum=0)
    )
    period: float = attrs.field(
        default=60.0, metadata=_says("Seconds over which crashes count.", exclusiveMinimum=0)
    )
    escalate: Literal["raise", "park"] = attrs.field(
        default="raise", metadata=_says("What giving an actor up does: end the farm, or park it.")
    )
    drain_seconds: float = attrs.field(
        default=10.0, metadata=_says("Grace of each stage on shutdown; 0 is none.", minimum=0)
    )

    @classmethod
    def _checks(cls, good: Mapping[str, Any]) -> Iterator[ConfigError]:
        yield from super()._checks(good)
        initial, cap = good.get("backoff_initial"), good.get("backoff_cap")
        if initial is not None and cap is not None and cap < initial:
            yield ConfigError("backoff_cap", f"{cap} is below backoff_initial, which is {initial}")


@attrs.frozen
class StorageConfig(_Table):
    """When rows go to disk: as soon as one of the three bounds is reached."""

    flush_rows: int = attrs.field(default=250_000, metadata=_says("Rows of one file.", minimum=1))
    flush_bytes: int = attrs.field(
        default=32 * MIB, metadata=_says("Bytes in memory, before compression.", minimum=1)
    )
    flush_seconds: float = attrs.field(
        default=60.0,
        metadata=_says("Seconds that a row may wait for its file.", exclusiveMinimum=0),
    )


@attrs.frozen
class FarmConfig(_Table):
    """A whole farm. Sizes are bytes; without ``data`` nothing is stored."""

    collectors: tuple[CollectorConfig, ...] = attrs.field(
        converter=_collectors,
        metadata=_says("What to collect, one [[collectors]] table or more.", minItems=1),
    )
    numbers: NumberMode = attrs.field(
        default=NumberMode.FLOAT,
        converter=_numbers,
        metadata=_says("How prices and quantities are held; decimal is exact."),
    )
    data: Path | None = attrs.field(
        default=None,
        converter=_path,
        metadata=_says("Directory to store in, relative to this file; without it nothing is."),
    )
    mailbox_bytes: int = attrs.field(
        default=64 * MIB, metadata=_says("Bound of each queue between two stages.", minimum=1)
    )
    subscriber_bytes: int = attrs.field(
        default=64 * MIB, metadata=_says("Bound of each subscriber's queue.", minimum=1)
    )
    supervision: SupervisionConfig = attrs.field(
        factory=SupervisionConfig, metadata=_says("How failures are met.")
    )
    storage: StorageConfig = attrs.field(
        factory=StorageConfig, metadata=_says("When rows go to disk.")
    )

    @classmethod
    def _checks(cls, good: Mapping[str, Any]) -> Iterator[ConfigError]:
        yield from super()._checks(good)
        owners: dict[tuple[Exchange, Market, str], int] = {}
        for index, collector in enumerate(good.get("collectors", ())):
            taken: dict[tuple[str, int], list[str]] = {}
            for stream in collector.streams_of():
                owner = owners.setdefault((stream.exchange, stream.market, stream.name), index)
                if owner != index:
                    taken.setdefault((stream.symbol, owner), []).append(stream.spec)
            for (symbol, owner), specs in taken.items():
                yield ConfigError(
                    f"collectors[{index}].symbols[{collector.symbols.index(symbol)}]",
                    f"{symbol!r} is collected by collectors[{owner}] already: {_listed(specs)}",
                )


for _table in (Endpoints, CollectorConfig, SupervisionConfig, StorageConfig, FarmConfig):
    attrs.resolve_types(_table)  # while importing: later it would be a race between threads


# Rules


def _bound_faults(name: str, value: Any, schema: Mapping[Any, Any]) -> Iterator[ConfigError]:
    if "minimum" in schema and value < schema["minimum"]:
        yield ConfigError(name, f"{_shown(value)} is too small: at least {schema['minimum']}")
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        yield ConfigError(name, f"{_shown(value)} is not above {schema['exclusiveMinimum']}")
    if "minItems" in schema and len(value) < schema["minItems"]:
        yield ConfigError(name, f"is empty: at least {schema['minItems']} is needed")
    if schema.get("uniqueItems"):
        firsts: dict[Any, int] = {}
        for index, item in enumerate(value):
            if (first := firsts.setdefault(item, index)) < index:
                yield ConfigError(
                    f"{name}[{index}]", f"{_shown(item)} stands twice, first at {name}[{first}]"
                )


def _symbol_fault(symbol: str) -> str | None:
    if not symbol.strip():
        return "is blank: name a symbol, such as 'BTCUSDT'"
    if re.fullmatch(SYMBOL_PATTERN, symbol):
        return None
    upper = "".join(c.upper() if c.isascii() else c for c in symbol)
    likely = "".join(c for c in upper if re.fullmatch(SYMBOL_PATTERN, c))
    hint = f"; did you mean {_shown(likely)}?" if likely else ""
    return f"is no symbol: upper case, no whitespace, none of / \\ @ ={hint}"


def _stream_faults(specs: Iterable[str], rules: MarketRules) -> Iterator[ConfigError]:
    first_by_name: dict[str, str] = {}
    for index, spec in enumerate(specs):
        if spec not in rules.streams.specs:
            yield ConfigError(f"streams[{index}]", _no_such_stream(spec, rules))
            continue
        first = first_by_name.setdefault(rules.streams.stream("S", spec).name, spec)
        if first != spec:
            yield ConfigError(
                f"streams[{index}]",
                f"{spec!r} is the same stream as {first!r} on {rules.key}: keep one of them",
            )


def _no_such_stream(spec: str, rules: MarketRules) -> str:
    head, _, detail = spec.partition(":")
    family = [known for known in rules.streams.specs if known.partition(":")[0] == head]
    if family:  # the head is right, so only the detail can be mistyped
        near = _near(detail, [known.partition(":")[2] for known in family])
        likely, offered = f"{head}:{near}" if near else None, _listed(family)
    else:
        likely = _near(spec, rules.streams.specs)
        offered = stream_specs_help(rules.exchange, rules.market)
    hint = f"; did you mean {likely!r}?" if likely else ";"
    return f"{rules.key} has no stream {_shown(spec)}{hint} it offers {offered}"


def _url_fault(url: str, schemes: tuple[str, ...]) -> str | None:
    if any(c.isspace() or not c.isprintable() for c in url):
        return "holds whitespace or control characters"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # both may raise
    except ValueError as error:
        return f"is no address: {error}"
    if parts.scheme not in schemes:
        return f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}"
    if not host:
        return f"names no host: write it as {schemes[-1]}://HOST[:PORT]"
    if "@" in parts.netloc or "?" in url or "#" in url:
        return "must be a base address: no user, query or fragment"
    return None


def stream_specs_help(exchange: Exchange, market: Market) -> str:
    """The streams of a market on one line: ``trade, quote, book, book:{50,200}, kline:{1m,3m}``.

    Raises KeyError for a market that farm does not speak.
    """
    details: dict[str, list[str]] = {}
    for spec in rules_of(exchange, market).streams.specs:
        head, colon, detail = spec.partition(":")
        details.setdefault(head + colon, []).append(detail)
    return ", ".join(
        f"{head}{{{','.join(found)}}}" if head.endswith(":") else head
        for head, found in details.items()
    )


def known_values(enum: type[Enum]) -> list[str]:
    """The values that a configuration may name: of venues and markets, those that farm speaks."""
    spoken = {member for key in MARKETS for member in key}
    return [m.value for m in enum if m in spoken or enum not in (Exchange, Market)]


# Words


class _Shown(reprlib.Repr):
    """Short, safe reprs: a value may be huge, and Python refuses to print integers that are."""

    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if abs(x) < 10**40 else f"<{x.bit_length()} bits>"


_SHOWN = _Shown()
_SHOWN.maxstring = _SHOWN.maxother = 80
_SHOWN.maxlist = _SHOWN.maxtuple = _SHOWN.maxdict = 3

_KIND_NAMES: tuple[tuple[Any, str], ...] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "float"),
    (str, "string"),
    (Mapping, "table"),
    (list | tuple, "list"),
)


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else _SHOWN.repr(value)


def _got(value: Any) -> str:
    kind = next((f"the {name} " for type_, name in _KIND_NAMES if isinstance(value, type_)), "")
    return f"got {kind}{_shown(value)}"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(repr(word) for word in words)


def _near(word: str, known: Iterable[str]) -> str | None:
    by_folded: dict[str, str] = {}
    for candidate in known:
        by_folded.setdefault(candidate.casefold(), candidate)
    return next((by_folded[m] for m in get_close_matches(word.casefold(), by_folded, n=1)), None)


def _unknown(what: str, word: str, known: list[str]) -> str:
    near = _near(word, known)
    hint = f"; did you mean {near!r}?" if near else ";"
    return f"unknown {what} {_shown(word)}{hint} possible: {_listed(known)}"


# Structuring

Hook = Callable[[Any, Any], Any]

_CONVERTER = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)


def _strict(kind: type, name: str) -> Hook:
    def structure(value: Any, _: Any) -> Any:
        # A bool is an int to Python, but not to whoever wrote the file.
        if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
        raise ConfigError("", f"expected {name}, {_got(value)}")

    return structure


def _structure_number(value: Any, _: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise ConfigError("", f"expected a finite number, {_got(value)}")


def _structure_path(value: Any, _: Any) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str):
        raise ConfigError("", f"expected a path as a string, {_got(value)}")
    if not value.strip() or "\0" in value:
        raise ConfigError("", f"{_shown(value)} is no path")
    return Path(value)


_ENUM_NAMES = {Exchange: "exchange", Market: "market", NumberMode: "number mode"}


def _structure_enum(value: Any, enum: type[Enum]) -> Enum:
    if isinstance(value, enum):
        return value
    for member in enum:
        if isinstance(value, str) and member.value == value:
            return member
    raise _not_one_of(value, _ENUM_NAMES.get(enum, "value"), known_values(enum))


def _structure_literal(value: Any, literal: Any) -> Any:
    known = list(get_args(literal))
    if isinstance(value, str) and value in known:
        return value
    raise _not_one_of(value, "value", known)


def _not_one_of(value: Any, what: str, known: list[str]) -> ConfigError:
    if isinstance(value, str):
        return ConfigError("", _unknown(what, value, known))
    return ConfigError("", f"expected one of {_listed(known)}, {_got(value)}")


def _tuple_hook(kind: Any) -> Hook:
    structure_items = homogenous_tuple_structure_factory(kind, _CONVERTER)

    def structure(value: Any, _: Any) -> Any:
        if isinstance(value, list | tuple):
            return structure_items(value, kind)
        hint = f"; write [{_shown(value)}]" if isinstance(value, str) else ""
        if isinstance(value, Mapping):
            hint = "; TOML writes each table of a list under double brackets, [[...]]"
        raise ConfigError("", f"expected a list, {_got(value)}{hint}")

    return structure


def _table_hook(cls: type[_Table]) -> Hook:
    from_mapping = make_dict_structure_fn(cls, _CONVERTER)

    def structure(value: Any, _: Any) -> Any:
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise ConfigError("", f"expected a table, {_got(value)}")
        try:
            return from_mapping(value, cls)
        except ClassValidationError as failure:
            if any(_is_own_verdict(error) for error in failure.exceptions):
                raise
            # A value of the wrong type kept the table from being made, and so from checking its
            # other values: they are checked here, so that one run reports everything.
            rules = cls._checks(_sift(cls, {**_defaults(cls), **value})[0])
            raise failure.derive([*failure.exceptions, *rules]) from None

    return structure


def _is_own_verdict(error: Exception) -> bool:
    """Whether the table was made and refused itself: cattrs notes the field of other errors."""
    return isinstance(error, ConfigErrors) and _note(error) is None


def _defaults(cls: type[_Table]) -> dict[str, Any]:
    """The plain default values of a table; absent tables have nothing to check."""
    plain = (str, int, float, tuple)
    return {f.name: f.default for f in attrs.fields(cls) if isinstance(f.default, plain)}


def _sift(cls: type[_Table], values: Mapping[str, Any]) -> tuple[dict[str, Any], list[ConfigError]]:
    """Those of a table's `values` that have the right type, converted, and what the others lack."""
    good: dict[str, Any] = {}
    errors: list[ConfigError] = []
    for field in attrs.fields(cls):
        if field.name in values:
            try:
                good[field.name] = _CONVERTER.structure(values[field.name], cast("Any", field.type))
            except (ConfigError, BaseValidationError) as error:
                errors += _flat(error, field.name)
    return good, errors


def _has_origin(origin: Any) -> Callable[[Any], bool]:
    return lambda kind: get_origin(kind) is origin


_CONVERTER.register_structure_hook(Enum, _structure_enum)
_CONVERTER.register_structure_hook_func(_has_origin(Literal), _structure_literal)
_CONVERTER.register_structure_hook_factory(_has_origin(tuple), _tuple_hook)
_CONVERTER.register_structure_hook_factory(attrs.has, _table_hook)
_CONVERTER.register_structure_hook(str, _strict(str, "a string"))
_CONVERTER.register_structure_hook(int, _strict(int, "an integer"))
_CONVERTER.register_structure_hook(bool, _strict(bool, "a boolean"))
_CONVERTER.register_structure_hook(float, _structure_number)
_CONVERTER.register_structure_hook(Path, _structure_path)


# From cattrs' tree of errors to lines with paths


def _note(error: Exception) -> Any:
    """What cattrs noted of an error's place: an attribute (``name``) or an item (``index``)."""
    places = (AttributeValidationNote, IterableValidationNote)
    return next((n for n in getattr(error, "__notes__", ()) if isinstance(n, places)), None)


def _joined(path: str, rest: str) -> str:
    return f"{path}.{rest}" if path and rest and not rest.startswith("[") else path + rest


def _flat(error: Exception, path: str, cls: type[_Table] | None = None) -> Iterator[ConfigError]:
    """Every fault beneath `error`, which arose at `path` in a table of class `cls`."""
    if isinstance(error, BaseValidationError):
        cls = error.cl if isinstance(error, ClassValidationError) else None
        for inner in error.exceptions:
            note = _note(inner)
            place = "" if note is None else getattr(note, "name", None) or f"[{note.index}]"
            yield from _flat(inner, _joined(path, place), cls)
    elif isinstance(error, ConfigErrors):
        for inner in error.errors:
            yield from _flat(inner, path)
    elif isinstance(error, ConfigError):
        yield ConfigError(_joined(path, error.path), error.message)
    elif isinstance(error, ForbiddenExtraKeysError):
        known = [field.name for field in attrs.fields(error.cl)]
        for key in sorted(error.extra_fields, key=_shown):
            word = key if isinstance(key, str) else _shown(key)
            place = word if re.fullmatch(r"[A-Za-z0-9_-]{1,80}", word) else _shown(word)
            yield ConfigError(_joined(path, place), _unknown("key", word, known))
    elif isinstance(error, KeyError) and cls is not None:
        field = getattr(attrs.fields(cls), path.rpartition(".")[2])
        yield ConfigError(path, f"is missing. {field.metadata['description']}")
    else:
        raise error


# Loading


def load_config(source: str | Path | Mapping[str, Any] | FarmConfig) -> FarmConfig:
    """The checked configuration of `source`: a TOML file's name, a mapping, or one made already.

    In the result ``data`` and ``ca_file`` are absolute: relative ones are taken from the directory
    of the file, or from the current one where there is no file; ``~`` is the home directory.

    Raises :class:`ConfigErrors` for whatever is wrong, a file that cannot be read included.
    """
    if isinstance(source, FarmConfig):
        return _placed(source, Path())
    if isinstance(source, str | Path):
        path = Path(source)
        return _from_toml(_read(path), str(path), path.parent)
    return _from_mapping(source, Path())


def parse_toml(text: str, *, name: str = "<string>") -> FarmConfig:
    """The checked configuration of a TOML text; errors call it `name`.

    Relative paths are taken from the current directory. Raises :class:`ConfigErrors`.
    """
    return _from_toml(text, name, Path())


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or error
        raise _document_error(f"{path}: cannot be read: {reason}") from error
    try:
        return data.decode("utf-8-sig")  # editors on Windows put a byte order mark before it
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _document_error(
            f"{path}: not UTF-8 text: byte 0x{data[error.start]:02x} in line {line}"
        ) from error


def _from_toml(text: str, name: str, base: Path) -> FarmConfig:
    try:
        document = tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, or an integer of thousands of digits
        raise _document_error(f"{name}: not valid TOML: {error}") from error
    except RecursionError as error:
        raise _document_error(f"{name}: nested too deeply") from error
    try:
        return _from_mapping(document, base)
    except ConfigErrors as errors:
        errors.add_note(f"in {name}")
        raise


def _document_error(message: str) -> ConfigErrors:
    return ConfigErrors([ConfigError("", message)])


def _from_mapping(document: Mapping[str, Any], base: Path) -> FarmConfig:
    try:
        config = _CONVERTER.structure(document, FarmConfig)
    except (ConfigError, BaseValidationError) as error:
        raise ConfigErrors(_flat(error, "")) from None
    return _placed(config, base)


def _placed(config: FarmConfig, base: Path) -> FarmConfig:
    """`config` with absolute paths, its authority files seen to be readable."""
    errors: list[ConfigError] = []
    data = config.data and _absolute(config.data, base, "data", errors)
    collectors = []
    for index, collector in enumerate(config.collectors):
        endpoints = collector.endpoints
        if endpoints.ca_file is not None:
            name = f"collectors[{index}].endpoints.ca_file"
            ca_file = _absolute(endpoints.ca_file, base, name, errors)
            _see_readable(ca_file, name, errors)
            endpoints = attrs.evolve(endpoints, ca_file=ca_file)
        collectors.append(attrs.evolve(collector, endpoints=endpoints))
    if errors:
        raise ConfigErrors(errors)
    return attrs.evolve(config, data=data, collectors=collectors)


def _absolute(path: Path, base: Path, name: str, errors: list[ConfigError]) -> Path:
    try:
        return (base / path.expanduser()).absolute()
    except (RuntimeError, ValueError):  # no such user
        errors.append(ConfigError(name, f"{_shown(str(path))}: no home directory is known for it"))
        return path


def _see_readable(path: Path, name: str, errors: list[ConfigError]) -> None:
    try:
        path.open("rb").close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        errors.append(ConfigError(name, f"{_shown(str(path))} cannot be read: {reason}"))
