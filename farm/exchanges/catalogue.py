"""What each market offers, its limits, and what can be proven about it: for people to read.

Everything is read from the rules by which farm works; ``farm streams`` prints it, and the README
has it as a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from farm.exchanges.rules import MarketRules
from farm.exchanges.streams import REST_ROUTE, Proof, Scope, StreamTemplate

__all__ = ["Limit", "MarketOffer", "StreamOffer", "describe_market", "markdown_table"]


@attrs.frozen
class StreamOffer:
    """A family of streams.

    ``stream`` is the word for the configuration (``kline:INTERVAL``), ``details`` what may stand in
    its capitals, ``name`` the venue's own name (with the first of the details), ``gives`` the kinds
    of events that come of it; ``whole_market``: it goes into ``market_streams``; ``proof`` says
    what can be proven, ``label`` the same in a word, ``life`` what its silence means.
    """

    stream: str
    details: list[str]
    name: str
    route: str
    gives: list[str]
    whole_market: bool
    proof: str
    label: str
    life: str

    @property
    def choice(self) -> str:
        """The details in few words: parts that are combined in every way are listed apart."""
        parts = [detail.split(":") for detail in self.details]
        columns = [list(dict.fromkeys(column)) for column in zip(*parts, strict=True)]
        return " : ".join(", ".join(column) for column in columns)


@attrs.frozen
class Limit:
    """One limit of a market, in words; ``value`` is its figure."""

    name: str
    value: float
    text: str


@attrs.frozen
class MarketOffer:
    """A market: its addresses, streams and limits."""

    market: str
    ws: str
    rest: str
    streams: list[StreamOffer]
    limits: list[Limit]


def describe_market(rules: MarketRules) -> MarketOffer:
    """What a market offers."""
    return MarketOffer(
        market=rules.key,
        ws=rules.ws_url,
        rest=rules.rest_url,
        streams=[_stream(template) for template in rules.streams.templates],
        limits=list(_limits(rules)),
    )


# What follows ``:`` or ``@`` where there is a choice.
_DETAILS = {
    "kline:": "INTERVAL",
    "continuous_kline:": "CONTRACT:INTERVAL",
    "book:": "DEPTH",
    "book@": "SPEED",
}


def _stream(template: StreamTemplate) -> StreamOffer:
    symbol = "<base coin>" if template.scope is Scope.BASE else "<symbol>"
    details = list(template.details)
    word, detail = "", ""
    if len(details) == 1:
        word, detail = details[0], template.details[details.pop()]
    elif details:
        word = _DETAILS[template.spec]
        detail = template.details[details[0]]  # an example says more than a placeholder
    return StreamOffer(
        stream=template.spec + word,
        details=details,
        name=template.name.format(symbol=symbol, detail=detail),
        route=template.route,
        gives=[template.data_type.value, *(kind.value for kind in template.also)],
        whole_market=template.scope is Scope.MARKET,
        proof=template.proof.value,
        label=template.proof.label,
        life=_life(template),
    )


def _life(template: StreamTemplate) -> str:
    if template.route == REST_ROUTE:
        return "polled by REST"
    if template.every is not None:
        return f"comes at least every {template.every:g} s, or is dead"
    if template.sparse:
        return "may be silent for long: judged by its symbol's trades or the venue's list"
    return "judged by its own longest pause, and its symbol's trades and quotes"


def _limits(rules: MarketRules) -> Iterable[Limit]:
    yield Limit(
        "streams_per_connection",
        rules.streams_per_connection,
        f"{rules.streams_per_connection:,} streams a connection",
    )
    yield Limit(
        "names_per_request", rules.topics_per_request, f"{rules.topics_per_request} names a request"
    )
    if rules.request_characters is not None:
        yield Limit(
            "characters_per_connection",
            rules.request_characters,
            f"{rules.request_characters:,} characters of names a connection",
        )
    rate = rules.control_rate
    yield Limit(
        "control_messages_per_second",
        rate.limit / rate.period,
        f"{rate.limit} control message{'s' * (rate.limit > 1)} in {rate.period:g} s",
    )
    rate = rules.connect_rate
    yield Limit(
        "connections_per_minute",
        rate.limit * 60 / rate.period,
        f"{rate.limit} connections in {rate.period / 60:g} minutes, an address",
    )
    rate = rules.rest_rate
    yield Limit(
        "rest_weight_per_minute",
        rate.limit * 60 / rate.period,
        f"REST weight {rate.limit:,} in {rate.period:g} s, an address ({rules.weight_pool})",
    )
    if rules.max_age is not None:
        yield Limit(
            "connection_hours",
            rules.max_age / 3600,
            f"a connection lives {rules.max_age / 3600:g} hours, and is replaced before",
        )


# ----------------------------------------------------------------------------------- as a table
def markdown_table(markets: Iterable[MarketRules]) -> str:
    """The streams of all markets as a table in Markdown, a row for each word and a column for each
    market; what the words for proofs mean; and a table of the limits."""
    offers = [describe_market(rules) for rules in markets]
    rows: dict[tuple[str, bool], dict[str, StreamOffer]] = {}
    for offer in offers:
        for stream in offer.streams:
            rows.setdefault((stream.stream, stream.whole_market), {})[offer.market] = stream
    names = [offer.market for offer in offers]
    lines = [f"| stream | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for (word, whole), cells in sorted(rows.items(), key=lambda row: row[0][1]):
        marks = " | ".join(_mark(cells.get(name)) for name in names)
        lines.append(f"| `{word}`{' (whole market)' * whole} | {marks} |")
    lines.append("")
    lines += [f"- *{label}*: {'; or: '.join(texts)}." for label, texts in _legend().items()]
    lines += ["", *_limits_table(offers)]
    return "\n".join(lines) + "\n"


def _limits_table(offers: Sequence[MarketOffer]) -> list[str]:
    rows: dict[str, dict[str, float]] = {}
    for offer in offers:
        for limit in offer.limits:
            rows.setdefault(limit.name, {})[offer.market] = limit.value
    names = [offer.market for offer in offers]
    lines = [f"| limit kept | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for name, values in rows.items():
        cells = (f"{round(values[market], 2):,g}" if market in values else "" for market in names)
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    return lines


def _mark(stream: StreamOffer | None) -> str:
    """A cell: what may follow the word, in short, and what can be proven."""
    if stream is None:
        return ""
    heads = list(dict.fromkeys(detail.partition("@")[0] for detail in stream.details))
    choice = ", ".join(heads) if len(heads) <= 4 else f"{heads[0]} … {heads[-1]}"
    if not heads:
        choice = "by REST" if stream.route == REST_ROUTE else "✓"
    return f"{choice} *{stream.label}*"


def _legend() -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    for proof in Proof:
        texts.setdefault(proof.label, []).append(proof.value)
    return texts
