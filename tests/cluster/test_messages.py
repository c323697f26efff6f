"""Messages come as they were sent; what is none is refused."""

from __future__ import annotations

import typing
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.cluster import messages
from farm.cluster.messages import (
    AddStreams,
    Assign,
    Beat,
    Drain,
    FromShard,
    Lines,
    OpenLine,
    Report,
    ToShard,
    decode_from_shard,
    decode_to_shard,
    encode,
)
from farm.config import CollectorConfig, Endpoints, StorageConfig, SupervisionConfig
from farm.errors import LinkError
from farm.exchanges.rules import MarketRules
from farm.exchanges.share import Share
from farm.exchanges.streams import Stream
from farm.pipeline import Pipeline, Settings
from farm.pipeline.stats import collect_stats
from farm.types import DataType, Exchange, Market, NumberMode
from tests.effort import runs
from tests.exchanges.feeding import ALL_RULES

SPOT = CollectorConfig("binance", "spot", ["BTCUSDT"], ["trade", "book"])
STREAMS = [
    stream
    for rules in ALL_RULES
    for stream in (
        *(rules.streams.stream("BTCUSDT", spec) for spec in rules.streams.specs),
        *map(rules.streams.market_stream, rules.streams.market_specs),
    )
]
COLLECTORS = st.builds(
    CollectorConfig,
    st.just(SPOT.exchange),
    st.just(SPOT.market),
    symbols=st.lists(st.text(st.sampled_from("ABC"), min_size=3, max_size=6), min_size=1).map(
        lambda symbols: tuple(dict.fromkeys(symbols))
    ),
    endpoints=st.builds(Endpoints, ca_file=st.none() | st.just(Path("/etc/ca.pem"))),
    lanes=st.integers(1, 4),
    rotate_seconds=st.none() | st.just(60.0),
)
SETTINGS = st.builds(
    Settings,
    numbers=st.sampled_from(NumberMode),
    data=st.none() | st.sampled_from([Path("data"), Path("/über/x y")]),
    mailbox_bytes=st.integers(1, 2**40),
    supervision=st.builds(SupervisionConfig, escalate=st.sampled_from(["raise", "park"])),
    storage=st.builds(StorageConfig, flush_seconds=st.floats(0.1, 1e6)),
    share=st.none() | st.just(Share(2, 8)),
    hand_off=st.booleans(),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXTS,
    bytes: st.binary(max_size=50),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    type(None): st.none(),
    CollectorConfig: COLLECTORS,
    Settings: SETTINGS,
    Stream: st.sampled_from(STREAMS),
    DataType: st.sampled_from(DataType),
    Exchange: st.sampled_from(Exchange),
    Market: st.sampled_from(Market),
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of what a field is said to hold."""
    if kind in PLAIN:
        return PLAIN[kind]
    args = get_args(kind)
    if get_origin(kind) is list:
        return st.lists(values(args[0]), max_size=3)
    if get_origin(kind) is dict:
        return st.dictionaries(values(args[0]), values(args[1]), max_size=3)
    if args:
        return st.one_of(*map(values, args))
    hints = get_type_hints(kind)
    return st.builds(kind, **{field: values(hint) for field, hint in hints.items()})


def parts(union: Any) -> list[type[Any]]:
    return list(typing.get_args(union))


to_shard = pytest.mark.parametrize("kind", parts(ToShard), ids=lambda kind: kind.__name__)
from_shard = pytest.mark.parametrize("kind", parts(FromShard), ids=lambda kind: kind.__name__)
some = settings(max_examples=runs(15))  # of each


@to_shard
@some
@given(data=st.data())
def test_what_a_shard_is_told_comes_as_it_was(kind: type[Any], data: st.DataObject) -> None:
    message = data.draw(values(kind))
    ours = decode_to_shard(encode(message))
    assert type(ours) is kind
    assert ours == message


@from_shard
@some
@given(data=st.data())
def test_what_a_shard_tells_comes_as_it_was(kind: type[Any], data: st.DataObject) -> None:
    message = data.draw(values(kind))
    ours = decode_from_shard(encode(message))
    assert type(ours) is kind
    assert ours == message


def test_every_message_has_its_way() -> None:
    """One way alone: what a shard may say, nobody may tell it."""
    told, says = set(parts(ToShard)), set(parts(FromShard))
    assert not told & says
    named = {getattr(messages, name) for name in messages.__all__}
    assert told | says == {
        kind for kind in named if isinstance(kind, type) and issubclass(kind, messages._Message)
    } - {messages.LineReport, messages.Reader}


@pytest.mark.parametrize("rules", ALL_RULES, ids=lambda rules: rules.key)
def test_streams_come_with_what_they_are(rules: MarketRules) -> None:
    """Also where somebody has asked for their feeds before, which are kept then."""
    streams = [stream for stream in STREAMS if stream.market is rules.market]
    feeds = [stream.feeds for stream in streams]
    ours = decode_to_shard(encode(AddStreams("a", streams)))
    assert isinstance(ours, AddStreams)
    assert ours.streams == streams
    assert [stream.feeds for stream in ours.streams] == feeds
    assert {type(stream.data_type) for stream in ours.streams} == {DataType}
    assert all(type(stream.also) is tuple for stream in ours.streams)


def test_paths_come_as_paths() -> None:
    settings = Settings(data=Path("/somewhere/else"))
    ours = decode_to_shard(encode(Assign("shard 1", settings, 0.25, None, 1000, None, 0)))
    assert isinstance(ours, Assign)
    assert isinstance(ours.settings.data, Path)
    endpoints = Endpoints(ca_file=Path("/etc/ca.pem"))
    collector = CollectorConfig("binance", "spot", ["BTCUSDT"], endpoints=endpoints)
    opened = decode_to_shard(encode(OpenLine("line", collector, [])))
    assert isinstance(opened, OpenLine)
    assert isinstance(opened.collector.endpoints.ca_file, Path)
    assert opened.collector.rules is collector.rules


def test_stats_of_a_pipeline_come_as_they_were() -> None:
    stats = collect_stats(Pipeline(Settings()))
    ours = decode_from_shard(encode(Report(stats, Lines(5, []))))
    assert ours == Report(stats, Lines(5, []))


def test_what_no_message_can_hold_is_not_sent() -> None:
    with pytest.raises(NotImplementedError, match="another process"):
        encode(typing.cast("Any", [{Decimal: object()}]))


# --------------------------------------------------------------------------- what is no message
@given(st.binary(max_size=100))
def test_other_bytes_are_refused(data: bytes) -> None:
    for decode in (decode_to_shard, decode_from_shard):
        with pytest.raises(LinkError, match="no message"):
            decode(data)


def test_a_message_cut_anywhere_is_refused() -> None:
    told = encode(OpenLine("line", SPOT, STREAMS[:2], down_since={"a": 5}))
    said = encode(Report(collect_stats(Pipeline(Settings())), Lines(5, [])))
    for decode, whole in ((decode_to_shard, told), (decode_from_shard, said)):
        decode(whole)
        for size in range(len(whole)):
            with pytest.raises(LinkError):
                decode(whole[:size])


@settings(max_examples=runs(200))
@given(st.data())
def test_spoilt_bytes_are_refused_or_say_something_else(data: st.DataObject) -> None:
    """And there is no other error than LinkError."""
    whole = encode(OpenLine("line", SPOT, STREAMS[:1]))
    spoilt = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=3)):
        spoilt[place] = data.draw(st.integers(0, 255))
    try:
        decode_to_shard(bytes(spoilt))
    except LinkError:
        return


def test_what_goes_the_other_way_is_refused() -> None:
    with pytest.raises(LinkError):
        decode_to_shard(encode(Beat(1, 1, 0.0, 1)))
    with pytest.raises(LinkError):
        decode_from_shard(encode(Drain()))


@pytest.mark.parametrize(
    "fields", [["Grant", "1"], ["Grant"], ["Nothing", 1], [], {"number": 1}, None]
)
def test_other_fields_are_refused(fields: Any) -> None:
    with pytest.raises(LinkError):
        decode_to_shard(msgspec.msgpack.encode(fields))
