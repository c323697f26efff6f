"""Reports as files, tables and a picture, and the comparison of two runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import attrs
import pytest

from benchmarks import compare
from benchmarks.chart import MOST, chart
from benchmarks.result import Case, Figure, Goal, Report
from benchmarks.saved import UnreadableReport, as_json, load, parsed
from benchmarks.table import number, tables
from tests.benchmarks.stubs import report

FARM, THEIRS = Figure("farm", [1.0, 2.0, 3.0], 1.0), Figure("theirs", [4.0, 5.0, 9.0])
ABSENT = Figure("gone", absent="not installed")


def kept(tmp_path: Path, name: str, *reports: Report) -> Path:
    path = tmp_path / name
    path.write_text(json.dumps(as_json(reports, {})))
    return path


def test_reports_come_back_as_they_were(tmp_path: Path) -> None:
    extra = attrs.evolve(FARM, extra={"p99 us": 4.0})
    made = report(extra, THEIRS, ABSENT, goals=(Goal("speed", 1.5, 2.0, at_least=False),))
    assert load(kept(tmp_path, "a.json", made, made)) == [made, made]
    assert parsed(json.dumps(made.to_json()), "here") == [made]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "here: not JSON: Expecting value"),
        ("[1]", "here: no report of a benchmark: no 'benchmark' or 'reports'"),
        ('{"reports": 1}', "here: no report of a benchmark"),
        ('{"benchmark": "x"}', "required field missing @ reports[0].title"),
        ('{"reports": [3]}', "here: no report of a benchmark: "),
    ],
)
def test_other_files_are_refused_by_name(text: str, told: str) -> None:
    with pytest.raises(UnreadableReport) as caught:
        parsed(text, "here")
    assert told in str(caught.value)


def test_a_value_that_is_no_number_is_found() -> None:
    data = report(FARM).to_json()
    data["cases"][0]["figures"][0]["values"][1] = "fast"
    with pytest.raises(UnreadableReport, match=r"reports\[0\]\.cases\[0\]\.figures\[0\]\.values"):
        parsed(json.dumps(data), "here")


def test_numbers_have_three_digits() -> None:
    numbers = [0.01234, 1.5, 99.94, 100.4, 1234.5, float("nan")]
    assert list(map(number, numbers)) == ["0.0123", "1.5", "99.9", "100", "1,234", "-"]


def test_a_table_has_all_figures_goals_and_absences() -> None:
    lossy = attrs.evolve(THEIRS, delivered=0.25, extra={"p99 us": 7.0})
    goals = (Goal("speed", 2.5, 2.0), Goal("time", 3.0, 2.0, at_least=False))
    made = report(FARM, lossy, ABSENT, goals=goals)
    made.cases.append(Case("a|b", "s", [Figure("farm", [0.0]), Figure("theirs", [1.0])]))
    made.cases[0].note = "on wood"
    text = tables([made])
    for line in (
        "### Beads & beads",
        "| | farm | theirs | gone |",
        "|---|---|---|---|",
        "| a case, ns a bead | 2 | 5 (2.5), delivers 25.0%, p99 us 7 | - |",
        "| a\\|b, s | 0 | 1 |",
        "- a case: speed: 2.50, goal at least 2: met",
        "- a case: time: 3.00, goal at most 2: **missed**",
        "- a case: on wood",
        "- gone: not installed",
        "- trio 1",
    ):
        assert line in text.splitlines()
    assert (
        "abacus, 2 cores, Wood x10, CPython 3.11.7, 2026-11-24; medians of 1 or 3 rounds,"
        " spread within the run 100% to 100%." in text
    )


def drawn(svg: str) -> tuple[list[str], dict[str, list[float]]]:
    """The texts of a picture, and the widths of its bars by class."""
    tree, space = ElementTree.fromstring(svg), "{http://www.w3.org/2000/svg}"
    widths: dict[str, list[float]] = {}
    for bar in tree.iter(f"{space}rect"):
        widths.setdefault(bar.attrib["class"], []).append(float(bar.attrib["width"]))
    return [text.text or "" for text in tree.iter(f"{space}text")], widths


@pytest.mark.parametrize(("lower", "ratio"), [(True, 2.5), (False, 0.4)])
def test_bars_are_as_long_as_contenders_are_good(lower: bool, ratio: float) -> None:
    goal = Goal("speed", 2.5, 3.0)
    texts, widths = drawn(chart([report(FARM, THEIRS, ABSENT, goals=(goal,), lower=lower)]))
    assert widths["ours"][0] / widths["theirs"][0] == pytest.approx(ratio, rel=0.01)
    assert len(widths["theirs"]) == 1
    assert {"Beads & beads", "a case, ns a bead", "goal missed: 2.50, at least 3"} <= set(texts)
    assert f"5 ({1 / ratio:.2g} x as good)" in texts
    assert "abacus, 2 cores, Wood x10, CPython 3.11.7, 2026-11-24; medians of 3 rounds" in texts


def test_goals_that_do_not_fit_beside_the_case_go_below_it() -> None:
    missed = Goal("speed", 0.5, 2.0)
    heights = []
    for count in (0, 1, 5):
        picture = chart([report(FARM, THEIRS, goals=(missed,) * count)])
        heights.append(int(ElementTree.fromstring(picture).attrib["height"]))
    assert heights[0] == heights[1] < heights[2]


def test_cases_without_peers_are_not_drawn_nor_are_too_many() -> None:
    alone = report(FARM, Figure("farm, otherwise", [1.0]), Figure("theirs", [0.0]))
    texts, widths = drawn(chart([alone]))
    assert ("Beads & beads" not in texts, list(widths)) == (True, ["page"])
    many = report(FARM, THEIRS)
    many.cases *= MOST + 1
    assert len(drawn(chart([many]))[1]["ours"]) == MOST


def test_the_headlines_of_books_are_drawn() -> None:
    names = ["change, 100 levels", "change, 1,000 levels", "best 20, 1,000 levels"]
    made = report(FARM, THEIRS, name="books")
    made.cases = [attrs.evolve(made.cases[0], name=name) for name in names]
    texts, _ = drawn(chart([made]))
    assert [f"{name}, ns a bead" in texts for name in names] == [False, True, True]


def changed(before: Report, after: Report) -> compare.Comparison:
    return compare.compared([before], [after])


def test_what_lies_within_the_spread_did_not_change() -> None:
    found = changed(report(FARM), report(Figure("farm", [3.0, 9.0], 1.0)))
    assert found == compare.Comparison(alike=1)


@pytest.mark.parametrize(("lower", "times"), [(True, 0.2), (False, 5.0)])
def test_what_lies_beyond_the_spread_did(lower: bool, times: float) -> None:
    before, after = report(FARM, lower=lower), report(Figure("farm", [9.0, 10.0, 11.0], 1.0))
    after.cases[0].lower_is_better = lower
    found = changed(before, after)
    changes = found.worse if lower else found.better
    place = ("stub", "a case", "farm")
    assert changes == [compare.Change(place, "ns a bead", 2.0, 10.0, pytest.approx(times))]
    assert (found.alike, len(found.better) + len(found.worse)) == (0, 1)


def test_a_machine_that_is_slower_leaves_the_ratio_to_others_as_it_was() -> None:
    slower = [
        attrs.evolve(figure, values=[10 * x for x in figure.values]) for figure in (FARM, THEIRS)
    ]
    found = changed(report(FARM, THEIRS), report(*slower))
    assert ([change.times for change in found.worse], found.against) == ([0.1, 0.1], [])
    found = changed(report(FARM, THEIRS), report(slower[0], THEIRS))
    (against,) = found.against
    assert against.times == pytest.approx(0.1)
    assert against.before == pytest.approx(3.0)  # in the rounds 4, 2.5 and 3
    zero = attrs.evolve(THEIRS, values=[0.0, 0.0, 0.0])
    assert changed(report(FARM, zero), report(slower[0], zero)).against == []


def test_other_machines_versions_units_and_deliveries_are_told(tmp_path: Path, capsys: Any) -> None:
    before = report(FARM, THEIRS, Figure("lost", [1.0]))
    after = report(Figure("farm", [1.0], 0.5), THEIRS)
    after.machine = after.machine | {"processor": "slide rule"}
    after.versions = {"trio": "2", "attrs": "3"}
    other = attrs.evolve(after.cases[0], name="other case")
    after.cases.append(other)
    paths = [str(kept(tmp_path, "a.json", before)), str(kept(tmp_path, "b.json", after))]
    assert compare.main(paths) == 0
    told = capsys.readouterr().out.splitlines()
    for line in (
        "  processor: abacus, then slide rule",
        "  trio: 1, then 2",
        "  attrs: none, then 3",
        "  stub / a case / farm: 100.0%, then 50.0%",
        "  stub / a case / lost",
        "  stub / other case / farm",
        "2 figures did not change beyond their spread",
    ):
        assert line in told
    assert any("a single round, which has no spread" in line for line in told)
    after.cases[0].unit = "s"
    found = changed(before, after)
    assert (found.alike, len(found.only_before), len(found.only_after)) == (0, 3, 4)


def test_the_comparison_on_the_terminal_and_as_json(tmp_path: Path, capsys: Any) -> None:
    after = report(Figure("farm", [0.0, 0.0], 1.0), Figure("theirs", [20.0, 30.0]))
    paths = [
        str(kept(tmp_path, "a.json", report(FARM, THEIRS))),
        str(kept(tmp_path, "b.json", after)),
    ]
    assert compare.main(paths) == 0
    out = capsys.readouterr().out
    assert "better:\n  stub / a case / farm: 2 to 0 ns a bead, inf times as good" in out
    assert "worse:\n  stub / a case / theirs: 5 to 25 ns a bead, 0.20 times as good" in out
    assert "of others' figures 1 changed: the machine may be what changed" in out
    assert compare.main([*paths, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["worse"][0]["times"] == 0.2


def test_a_file_that_is_no_report_ends_the_comparison(tmp_path: Path, capsys: Any) -> None:
    good, lost = kept(tmp_path, "a.json", report(FARM)), tmp_path / "lost.json"
    assert compare.main([str(good), str(lost)]) == 2
    assert capsys.readouterr().err == f"{lost}: No such file or directory\n"
    lost.write_bytes(b"\xff")
    assert compare.main([str(lost), str(good)]) == 2
    assert f"{lost}: not JSON" in capsys.readouterr().err
