"""Figures → docs/benchmarks.md: medians and spreads, ratios within a run, the goals beside them, the machine."""

import dataclasses
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


def write(path: pathlib.Path, sections: Sequence[Section]) -> None:
    path.write_text("\n".join([_head(), *[_section(section) for section in sections]]))


def _head() -> str:
    return f"""# Benchmarks

Written by `make bench`. Absolute figures move with the machine; the ratios compare within one run.
Medians, with the smallest and largest sample in brackets.

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
