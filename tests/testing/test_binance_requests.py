from __future__ import annotations

import pytest

from farm.testing.binance_requests import ABSENT, InvalidRequest, parse_address, parse_request


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
def test_addresses(target: str, combined: bool, streams: list[str]) -> None:
    assert parse_address(target) == (combined, streams)


@pytest.mark.parametrize(("target", "status"), [("/", 404), ("/wsx", 404), ("/streams", 404)])
def test_other_addresses(target: str, status: int) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_address(target)
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
