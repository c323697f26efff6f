from __future__ import annotations

import json

import pytest

from farm.testing.time_units import in_microseconds

NOW = 1_786_320_000_123_456_789
MS, US = 1_786_320_000_123, 1_786_320_000_123_456
EARLIER = 1_786_319_999_000
END = 1_786_320_059_999


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f'{{"e":"trade","E":{MS},"s":"BTCUSDT","t":1234567890123,"p":"1.0","T":{EARLIER}}}',
            f'{{"e":"trade","E":{US},"s":"BTCUSDT","t":1234567890123,"p":"1.0","T":{EARLIER}000}}',
        ),
        (
            f'{{"e":"24hrTicker","E":{MS},"O":{EARLIER},"C":{MS},"F":1786320000123}}',
            f'{{"e":"24hrTicker","E":{US},"O":{EARLIER}000,"C":{US},"F":1786320000123}}',
        ),
        (
            f'{{"e":"kline","E":{MS},"k":{{"t":{EARLIER},"T":{END},"f":9876543210123}}}}',
            f'{{"e":"kline","E":{US},"k":{{"t":{EARLIER}000,"T":{END}999,"f":9876543210123}}}}',
        ),
        (
            f'{{"e":"referencePrice","s":"A","r":"1.00","t":{EARLIER}}}',
            f'{{"e":"referencePrice","s":"A","r":"1.00","t":{EARLIER}000}}',
        ),
        ('{"u":1786320000123,"s":"A"}', '{"u":1786320000123,"s":"A"}'),
        (f'{{"e":"x","U":{MS},"u":{MS},"E":{MS}}}', f'{{"e":"x","U":{MS},"u":{MS},"E":{US}}}'),
        (f'[{{"E":{MS}}},{{"E":{MS}}}]', f'[{{"E":{US}}},{{"E":{US}}}]'),
    ],
)
def test_times_change_and_nothing_else(text: str, expected: str) -> None:
    assert in_microseconds(text, NOW) == expected
    json.loads(expected)


def test_a_time_that_is_no_milliseconds_stays() -> None:
    assert in_microseconds('{"E":123,"T":17863200001234567}', NOW) == (
        '{"E":123,"T":17863200001234567}'
    )
