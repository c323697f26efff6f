"""Reports as one picture: an SVG of bars, drawn by hand, that reads on light and dark pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from benchmarks.result import Case, Figure, Goal, Report
from benchmarks.table import number, setting

__all__ = ["HEADLINES", "MOST", "chart"]

HEADLINES = {
    "parse": (
        "binance trade",
        "usdm aggregate trade",
        "bybit trades, 5 a message",
        "usdm diff, 40 levels",
        "binance diffs, the book kept",
    ),
    "end_to_end": ("flood, 1 connection", "flood, 50 connections", "3,000/s, 1 connection"),
    "channels": (),
    "books": (
        "change, 1,000 levels",
        "diff and best 20, 1,000 levels",
        "best 20, 1,000 levels",
    ),
}
"""The cases that are drawn, where they are not just the first ones with peers."""

MOST = 3
"""How many are drawn of the others."""

WIDTH, MARGIN = 860, 24
NAMES, BARS = 225, 320  # where bars begin, and how long the longest is
ROW, BAR = 19, 12
ABREAST = 115  # characters that surely fit into a line
STYLE = """
text { font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.page { fill: #ffffff; stroke: #d1d9e0 } .title { font-size: 17px; font-weight: 600 }
.heading { font-size: 14px; font-weight: 600 } .case { font-weight: 600 }
.quiet { fill: #59636e } .ours { fill: #1a7f6b } .theirs { fill: #a5b0bc } .missed { fill: #c4320a }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .page { fill: #0d1117; stroke: #3d444d } .quiet { fill: #9198a1 }
  .ours { fill: #3fbfa3 } .theirs { fill: #59636e } .missed { fill: #ff8866 }
}
"""


class _Sheet:
    """Lines of SVG, from the top down; ``y`` is where the next one goes."""

    def __init__(self) -> None:
        self.y = MARGIN
        self._items: list[str] = []

    def text(self, x: float, words: str, kind: str = "", *, end: bool = False) -> None:
        anchor = ' text-anchor="end"' if end else ""
        self._items.append(
            f'<text x="{x:g}" y="{self.y}" class="{kind}"{anchor}>{escape(words)}</text>'
        )

    def bar(self, width: float, kind: str) -> None:
        place = f'x="{NAMES}" y="{self.y - BAR + 2}" width="{width:.1f}" height="{BAR}"'
        self._items.append(f'<rect {place} rx="2" class="{kind}"/>')

    def svg(self, title: str) -> str:
        height = self.y + MARGIN
        size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n'
            f"<title>{escape(title)}</title>\n<style>{STYLE}</style>"
        )
        page = (
            f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8" class="page"/>'
        )
        return "\n".join([head, page, *self._items, "</svg>\n"])


def chart(reports: Sequence[Report]) -> str:
    """The picture: in each case the best contender's bar is the longest, and a bar of half that
    length is half as good."""
    title, sheet = "farm and its peers", _Sheet()
    sheet.y += 8
    sheet.text(MARGIN, title, "title")
    sheet.y += 20
    sheet.text(
        MARGIN, "Longer is better: half as long is half as good. Some of all cases.", "quiet"
    )
    for report in reports:
        cases = _drawn(report)
        if cases:
            sheet.y += 34
            sheet.text(MARGIN, report.title, "heading")
        for case in cases:
            _draw(sheet, case)
    sheet.y += 34
    for line in _settings(reports):
        sheet.text(MARGIN, line, "quiet")
        sheet.y += ROW
    sheet.y -= ROW
    return sheet.svg(title)


def _drawn(report: Report) -> list[Case]:
    names = HEADLINES.get(report.benchmark)
    with_peers = [c for c in report.cases if {True, False} <= set(map(_is_ours, _present(c)))]
    if names is None:
        return with_peers[:MOST]
    return [case for case in with_peers if case.name in names]


def _draw(sheet: _Sheet, case: Case) -> None:
    sheet.y += 26
    name = f"{case.name}, {case.unit}"
    sheet.text(MARGIN, name, "case")
    if missed := [goal for goal in case.goals if not goal.met]:
        told = f"goal missed: {'; '.join(map(_told, missed))}"
        if len(name) + len(told) > ABREAST:
            sheet.y += ROW
        sheet.text(WIDTH - MARGIN, told, "missed", end=True)
    speeds = {figure.contender: _speed(case, figure) for figure in _present(case)}
    best = max(speeds.values())
    for figure in _present(case):
        sheet.y += ROW
        sheet.text(NAMES - 8, figure.contender, end=True)
        width = max(1.0, BARS * speeds[figure.contender] / best)
        sheet.bar(width, "ours" if _is_ours(figure) else "theirs")
        sheet.text(NAMES + width + 8, _value(case, figure), "quiet")


def _told(goal: Goal) -> str:
    return f"{goal.ratio:.2f}, at {'least' if goal.at_least else 'most'} {goal.goal:g}"


def _present(case: Case) -> list[Figure]:
    return [figure for figure in case.figures if figure.values and figure.median > 0]


def _is_ours(figure: Figure) -> bool:
    return figure.contender.startswith("farm")


def _speed(case: Case, figure: Figure) -> float:
    return 1 / figure.median if case.lower_is_better else figure.median


def _value(case: Case, figure: Figure) -> str:
    first = case.figures[0]
    text = number(figure.median)
    if figure is not first and first.values and first.median > 0:
        times = case.ratio(figure.contender, first.contender)
        text += f" ({times:.2g} x as good)"
    if figure.delivered is not None and figure.delivered != 1:
        text += f", delivers {figure.delivered:.0%}"
    return text


def _settings(reports: Iterable[Report]) -> list[str]:
    """Where it was measured: a line, unless the reports are of several machines or days."""
    return list(dict.fromkeys(setting(report).partition(", spread")[0] for report in reports))
