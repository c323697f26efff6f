"""What a user reads about the markets is what the rules say."""

from __future__ import annotations

import pytest

from farm.exchanges.catalogue import describe_market, markdown_table
from farm.exchanges.registry import MARKETS, rules_of
from farm.exchanges.rules import MarketRules
from farm.exchanges.streams import Proof
from farm.types import Exchange, Market

ALL = pytest.mark.parametrize("rules", MARKETS.values(), ids=lambda rules: rules.key)


@ALL
def test_every_word_of_a_market_is_described(rules: MarketRules) -> None:
    offer = describe_market(rules)
    words: dict[bool, set[str]] = {False: set(), True: set()}
    for stream in offer.streams:
        head = stream.stream.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ").removesuffix("CONTRACT:")
        found = {head + detail for detail in stream.details} or {stream.stream}
        assert not words[stream.whole_market] & found
        words[stream.whole_market] |= found
    assert words[False] == set(rules.streams.specs)
    assert words[True] == set(rules.streams.market_specs)


@ALL
def test_limits_are_the_rules(rules: MarketRules) -> None:
    limits = {limit.name: limit for limit in describe_market(rules).limits}
    assert limits["streams_per_connection"].value == rules.streams_per_connection
    assert limits["names_per_request"].value == rules.topics_per_request
    assert ("connection_hours" in limits) == (rules.max_age is not None)
    rate = rules.rest_rate
    assert limits["rest_weight_per_minute"].value == pytest.approx(60 * rate.limit / rate.period)
    assert rules.weight_pool in limits["rest_weight_per_minute"].text


def test_the_words_of_one_market_by_hand() -> None:
    offer = describe_market(rules_of(Exchange.BINANCE, Market.USDM))
    streams = {(stream.stream, stream.whole_market): stream for stream in offer.streams}
    assert streams["trade", False].name == "<symbol>@trade"
    assert streams["trade", False].route == "public"
    assert streams["book:DEPTH", False].details[:4] == ["5", "10", "20", "5@250ms"]
    assert streams["mark_price@3s", True].name == "!markPrice@arr"
    assert streams["liquidation", False].proof == Proof.LOSSY.value
    continuous = streams["continuous_kline:CONTRACT:INTERVAL", False]
    assert continuous.choice.startswith("perpetual, current_quarter, next_quarter : 1m, 3m")
    assert streams["open_interest", False].life == "polled by REST"
    assert "every 1 s" in streams["mark_price", False].life
    assert "silent for long" in streams["trade", False].life
    ticker = describe_market(rules_of(Exchange.BYBIT, Market.OPTION)).streams[-1]
    assert ticker.gives == ["ticker", "mark_price", "open_interest"]


def test_every_proof_has_a_label_and_stands_in_the_legend() -> None:
    table = markdown_table(MARKETS.values())
    for proof in Proof:
        assert f"*{proof.label}*" in table
        assert proof.value in table


def test_the_table_has_a_column_for_each_market_and_its_limits() -> None:
    lines = markdown_table(MARKETS.values()).splitlines()
    heads = [line for line in lines if "binance/spot" in line]
    assert [head.count("/") for head in heads] == [7, 7]
    assert all(line.count("|") == 9 for line in lines if line.startswith("|"))
    (agg,) = [line for line in lines if line.startswith("| `agg_trade`")]
    assert agg == "| `agg_trade` | ✓ *ids* | ✓ *ids* | ✓ *ids* |  |  |  |  |"
    (weight,) = [line for line in lines if line.startswith("| rest weight")]
    assert (
        weight
        == "| rest weight per minute | 6,000 | 2,400 | 2,400 | " + " | ".join(["7,200"] * 4) + " |"
    )
