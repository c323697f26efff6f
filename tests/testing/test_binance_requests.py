from __future__ import annotations

import pytest

from farm.testing import BINANCE_COINM, BINANCE_SPOT, BINANCE_USDM, BinanceRules
from farm.testing.binance_requests import ABSENT, InvalidRequest, parse_address, parse_request

EVERY = pytest.mark.parametrize("rules", [BINANCE_SPOT, BINANCE_USDM, BINANCE_COINM])


@pytest.mark.parametrize(
    ("target", "combined", "streams"),
    [
        ("/ws", False, []),
        ("/ws/", False, []),
        ("/ws/a@trade", False, ["a@trade"]),
        ("/ws/a@trade/b@depth@100ms", False, ["a@trade", "b@depth@100ms"]),
        ("/ws/%E5%B8%81usdt@trade", False, ["币usdt@trade"]),
        ("/stream", True, []),
        ("/stream?streams=", True, []),
        ("/stream?streams=a@trade/b@depth", True, ["a@trade", "b@depth"]),
        ("/stream?streams=a%40trade%2Fb", True, ["a@trade", "b"]),
    ],
)
@EVERY
def test_addresses(rules: BinanceRules, target: str, combined: bool, streams: list[str]) -> None:
    address = parse_address(target, rules)
    assert (address.combined, address.streams) == (combined, streams)
    assert (address.route.prefix, address.microseconds) == ("", False)


@pytest.mark.parametrize("route", ["/public", "/market", "/private"])
def test_usdm_has_routes_and_the_others_have_none(route: str) -> None:
    for form in ("/ws", "/ws/a@trade", "/stream", "/stream?streams=a@trade"):
        assert parse_address(route + form, BINANCE_USDM).route.prefix == route
        for rules in (BINANCE_SPOT, BINANCE_COINM):
            with pytest.raises(InvalidRequest) as caught:
                parse_address(route + form, rules)
            assert caught.value.code == 404


@pytest.mark.parametrize("target", ["/", "/wsx", "/streams", "/public", "/public/", "/publicws"])
@EVERY
def test_other_addresses(rules: BinanceRules, target: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_address(target, rules)
    assert caught.value.code == 404


@pytest.mark.parametrize("target", ["/stream?streams=a@trade&timeUnit={}", "/ws/a?timeUnit={}"])
def test_time_units_are_spots(target: str) -> None:
    assert parse_address(target.format("MICROSECOND"), BINANCE_SPOT).microseconds
    assert not parse_address(target.format("MILLISECOND"), BINANCE_SPOT).microseconds
    for rules, unit in ((BINANCE_SPOT, "NANOSECOND"), (BINANCE_USDM, "MICROSECOND")):
        with pytest.raises(InvalidRequest) as caught:
            parse_address(target.format(unit), rules)
        assert caught.value.code == 400


def test_an_address_has_a_length_and_a_number_of_streams() -> None:
    names = [f"{number}@trade" for number in range(201)]
    assert len(parse_address("/ws/" + "/".join(names[:200]), BINANCE_USDM).streams) == 200
    for target, status in (("/ws/" + "/".join(names), 400), ("/ws/" + "x" * 8_001, 414)):
        with pytest.raises(InvalidRequest) as caught:
            parse_address(target, BINANCE_USDM)
        assert caught.value.code == status


@pytest.mark.parametrize("request_id", ["7", "-9223372036854775808", '"a1B2"', "null"])
def test_ids(request_id: str) -> None:
    request, parsed = parse_request(f'{{"method":"LIST_SUBSCRIPTIONS","id":{request_id}}}')
    assert parsed == request["id"]
    assert parse_request('{"method":"LIST_SUBSCRIPTIONS"}')[1] is ABSENT


@pytest.mark.parametrize("request_id", ["true", "1.5", '""', '"a-b"', "9223372036854775808", "[1]"])
def test_impossible_ids(request_id: str) -> None:
    with pytest.raises(InvalidRequest, match="request ID") as caught:
        parse_request(f'{{"method":"LIST_SUBSCRIPTIONS","id":{request_id}}}')
    assert caught.value.code == 2


def test_deeply_nested_text_is_invalid_json() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_request("[" * 100_000)
    assert caught.value.code == 3
