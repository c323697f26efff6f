from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from farm.errors import RecordingError
from farm.testing import RecordingSource, depth_reply
from farm.types import Market
from tests.recordings import recording


def test_a_log_gives_every_frame_and_its_snapshot() -> None:
    path = recording("binance_spot_btcusdt_20240808.log.gz")
    source = RecordingSource(path)
    pushes = list(source)
    lines = [line.split(b" ", 1)[1] for line in gzip.decompress(path.read_bytes()).splitlines()]
    assert pushes[7].stream == depth_reply("BTCUSDT")
    assert pushes[7].text.encode() == lines.pop(7)
    del pushes[7]
    assert [f'{{"stream":"{p.stream}","data":{p.text}}}'.encode() for p in pushes] == lines
    assert not any(push.silent for push in pushes)
    assert source.symbols == {"BTCUSDT"}


@pytest.mark.parametrize(
    ("market", "symbols", "books", "trades", "candles"),
    [
        (Market.LINEAR, {"BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT"}, 1_598, 102, 71),
        (Market.SPOT, {"BTCUSDT", "ETHUSDT"}, 550, 18, 25),
    ],
)
def test_a_bybit_session_gives_one_market(
    market: Market, symbols: set[str], books: int, trades: int, candles: int
) -> None:
    source = RecordingSource(recording("session_bybit_20260809.jsonl.gz"), market)
    pushes = list(source)
    kinds = Counter(push.stream.partition(".")[0] for push in pushes)
    assert (kinds["orderbook"], kinds["publicTrade"], kinds["kline"]) == (books, trades, candles)
    assert all(json.loads(push.text)["topic"] == push.stream for push in pushes[1:])
    assert (pushes[0].stream, pushes[0].silent) == (
        f"/instruments-info?category={market.value}",
        True,
    )
    assert source.symbols == symbols


def test_a_connection_can_be_chosen_by_name() -> None:
    path = recording("session_bybit_20260809.jsonl.gz")
    by_name = [p for p in RecordingSource(path, connection="BYBIT.ws.3") if p.stream[0] != "/"]
    by_market = [p for p in RecordingSource(path, Market.SPOT) if p.stream[0] != "/"]
    assert by_name == by_market


@pytest.mark.parametrize(
    ("name", "snapshots"),
    [
        ("session_binance_spot_20211012.jsonl.gz", {"NKNUSDT", "BLZETH", "LRCBTC", "RUNEEUR"}),
        (
            "session_binance_usdm_20210722.jsonl.gz",
            {"SUSHIUSDT", "AKROUSDT", "KEEPUSDT", "CTKUSDT"},
        ),
        (
            "session_binance_coinm_20210722.jsonl.gz",
            {
                "BCHUSD_PERP",
                "LINKUSD_PERP",
                "BCHUSD_210924",
                "ETCUSD_PERP",
                "ETHUSD_210924",
                "XRPUSD_PERP",
                "BTCUSD_211231",
                "TRXUSD_PERP",
                "LINKUSD_211231",
                "EOSUSD_PERP",
            },
        ),
    ],
)
def test_the_snapshots_of_a_session_stand_in_their_time(name: str, snapshots: set[str]) -> None:
    pushes = list(RecordingSource(recording(name)))
    assert [push.time for push in pushes] == sorted(push.time for push in pushes)
    replies = {p.stream: p for p in pushes if p.stream.startswith("/depth")}
    assert set(replies) == {depth_reply(symbol) for symbol in snapshots}
    assert RecordingSource(recording(name)).symbols == snapshots
    assert not any(push.silent for push in replies.values())
    assert [push.stream for push in pushes if push.silent] == ["/exchangeInfo"]


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("binance_usdm_btcusdt_20240808.log.gz", "BTCUSDT"),
        ("binance_coinm_btcusd_perp_20240808.log.gz", "BTCUSD_PERP"),
    ],
)
def test_the_snapshot_of_a_futures_log_is_of_its_only_symbol(name: str, symbol: str) -> None:
    source = RecordingSource(recording(name))
    [reply] = [push.stream for push in source if push.stream.startswith("/")]
    assert reply == depth_reply(symbol)
    assert source.symbols == {symbol}


def test_an_open_choice_of_connections_is_an_error() -> None:
    path = recording("session_bybit_20260809.jsonl.gz")
    with pytest.raises(RecordingError, match=r"several connections .*market= or connection="):
        list(RecordingSource(path))
    with pytest.raises(RecordingError, match="no frame of the chosen connection"):
        list(RecordingSource(path, connection="nope"))
    with pytest.raises(RecordingError, match="no frame of the chosen connection"):
        list(RecordingSource(path, Market.OPTION))


def test_a_snapshot_of_unknown_symbol_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "two.log"
    path.write_text(
        '1 {"stream":"a@trade","data":{}}\n2 {"stream":"b@trade","data":{}}\n'
        '3 {"lastUpdateId":1,"bids":[],"asks":[]}\n'
    )
    with pytest.raises(RecordingError, match=r"may be of any of \['A', 'B'\]"):
        list(RecordingSource(path))


def test_control_replies_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "acks.log"
    path.write_text('1 {"result":null,"id":1}\n2 {"stream":"a@trade","data":{"x":1}}\n')
    assert [push.text for push in RecordingSource(path)] == ['{"x":1}']


def test_symbols_and_replies_of_any_name(tmp_path: Path) -> None:
    lines = [
        {"t": "header"},
        {"t": "recv", "conn": "a", "ts": 1.0, "data": '{"topic":"tickers.XRP-1-0.4-P","x":1}'},
        {"t": "http", "conn": "h", "ts": 2.0, "data": "{}",
         "url": "https://api.bybit.com/v5/market/full_orderbook?category=option&symbol=X"},
    ]  # fmt: skip
    path = tmp_path / "session.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    source = RecordingSource(path)
    assert source.symbols == {"XRP-1-0.4-P"}
    assert [push.stream for push in source if push.silent] == ["/full_orderbook?symbol=X"]
