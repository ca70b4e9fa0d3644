"""Figures → docs/benchmarks.md: medians and spreads, ratios within a run, the goals beside them, the machine."""

import dataclasses
import json
import pathlib
import platform
import statistics
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Figure:
    """What was measured: samples in one unit, and where there is one, the baseline of the same run and the goal."""

    name: str
    unit: str
    samples: Sequence[float]
    baseline: "Figure | None" = None
    goal: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def ratio(self) -> float | None:
        return self.median / self.baseline.median if self.baseline else None

    def percentile(self, share: float) -> float:
        ordered = sorted(self.samples)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclasses.dataclass(frozen=True)
class Section:
    title: str
    how: str
    figures: Sequence[Figure]


class Report:
    """The page, written anew after every section: a run that breaks off keeps what it measured.

    `kept` holds each section as it was rendered last, so that single sections can be measured again.
    """

    def __init__(self, page: pathlib.Path, kept: pathlib.Path) -> None:
        self._page, self._kept = page, kept
        self._sections: dict[str, str] = json.loads(kept.read_text()) if kept.exists() else {}  # title -> Markdown

    def add(self, section: Section) -> None:
        self._sections[section.title] = _section(section)
        self._kept.parent.mkdir(exist_ok=True)
        self._kept.write_text(json.dumps(self._sections))
        self._page.write_text("\n".join([_head(), *self._sections.values()]))


def _head() -> str:
    return f"""# Benchmarks

Written by `make bench`. Absolute figures move with the machine; the ratios compare within one run.
Medians, with the smallest and largest sample in brackets.
Sections are measured one after the other, at whatever load the machine then has: compare within a section.

Machine: {_cpu()}, Linux {platform.release()}, Python {platform.python_version()}.
"""


def _cpu() -> str:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(models)} x {models[0]}" if models else platform.machine()


def _section(section: Section) -> str:
    rows = "\n".join(_row(figure) for figure in section.figures)
    head = "| what | median | spread | ratio | goal |\n|---|---|---|---|---|"
    return f"## {section.title}\n\n{section.how}\n\n{head}\n{rows}\n"


def _row(figure: Figure) -> str:
    spread = f"[{_number(min(figure.samples))} – {_number(max(figure.samples))}], n={len(figure.samples)}"
    ratio = f"{figure.ratio:.2f} × {figure.baseline.name}" if figure.baseline else ""
    return f"| {figure.name} | {_number(figure.median)} {figure.unit} | {spread} | {ratio} | {figure.goal} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
