"""docs/benchmarks.md keeps what was not measured again."""

import json
import pathlib

from tests.bench.report import Figure, Report, Section


def section(title: str, sample: float) -> Section:
    base = Figure("slow", "s", [2.0])
    return Section(title, "Once.", [base, Figure("fast", "s", [sample], base, more=[base])])


def report(directory: pathlib.Path) -> Report:
    return Report(directory / "page.md", directory / "build/raw.json")


def test_a_section_that_is_measured_again_takes_its_own_place_and_the_others_stay(tmp_path: pathlib.Path):
    for title in ("First", "Second", "Third"):
        report(tmp_path).add(section(title, 1.0))
    report(tmp_path).add(section("Second", 4.0))
    after = (tmp_path / "page.md").read_text()
    assert [line for line in after.splitlines() if line.startswith("## ")] == ["## First", "## Second", "## Third"]
    assert after.count("| fast | 1 s | [1 – 1], n=1 | 0.50 × slow, 0.50 × slow |  |") == 2
    assert after.count("| fast | 4 s | [4 – 4], n=1 | 2.00 × slow, 2.00 × slow |  |") == 1


def test_the_page_is_the_same_when_the_same_is_measured(tmp_path: pathlib.Path):
    report(tmp_path).add(section("First", 1.0))
    before = (tmp_path / "page.md").read_text()
    report(tmp_path).add(section("First", 1.0))
    assert (tmp_path / "page.md").read_text() == before


def test_a_ratio_is_of_what_was_measured_in_the_same_round():
    base = Figure("slow", "s", [1.0, 10.0, 10.0])
    assert Figure("fast", "s", [2.0, 20.0, 2.0], base).ratios == "2.00 × slow"


def test_every_sample_is_kept_for_programs(tmp_path: pathlib.Path):
    report(tmp_path).add(section("First", 1.0))
    report(tmp_path).add(section("Second", 3.0))
    raw = json.loads((tmp_path / "build/raw.json").read_text())
    assert raw["Second"] == {"slow": ["s", 2.0], "fast": ["s", 3.0]}
    assert list(raw) == ["First", "Second"]
