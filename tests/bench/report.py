"""Figures → docs/benchmarks.md: medians and spreads, ratios within a run, the goals beside them, the machine."""

import dataclasses
import json
import pathlib
import platform
import statistics
from collections.abc import Sequence

HEADING = "## "


@dataclasses.dataclass(frozen=True)
class Figure:
    """What was measured: samples in one unit, and where there are any, baselines of the same rounds, and the goal."""

    name: str
    unit: str
    samples: Sequence[float]
    baseline: "Figure | None" = None
    goal: str = ""
    more: Sequence["Figure"] = ()  # further baselines

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def ratios(self) -> str:
        """Against each baseline, as the page says it."""
        against = [*([self.baseline] if self.baseline else []), *self.more]
        return ", ".join(f"{self.ratio(one):.2f} × {one.name}" for one in against)

    def ratio(self, baseline: "Figure") -> float:
        """The median over rounds: what slows the machine for some rounds slows both samples of each of them."""
        rounds = zip(self.samples, baseline.samples, strict=True)
        return statistics.median(sample / base for sample, base in rounds)

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

    The page is its own store: sections that are not measured stay as they stand there, so that single ones can be
    measured again. `raw` gets every sample of the sections measured since it was last removed, for other programs.
    """

    def __init__(self, page: pathlib.Path, raw: pathlib.Path) -> None:
        self._page, self._raw = page, raw

    def add(self, section: Section) -> None:
        sections = {**self._sections(), section.title: _section(section)}
        self._page.write_text("\n".join([_head(), *sections.values()]))
        samples = json.loads(self._raw.read_text()) if self._raw.exists() else {}
        samples[section.title] = {figure.name: [figure.unit, *figure.samples] for figure in section.figures}
        self._raw.parent.mkdir(exist_ok=True)
        self._raw.write_text(json.dumps(samples, indent=1))

    def _sections(self) -> dict[str, str]:
        """Title -> Markdown of the sections that the page has, in its order."""
        _, *parts = self._page.read_text().split(f"\n{HEADING}") if self._page.exists() else [""]
        return {part.partition("\n")[0]: f"{HEADING}{part.rstrip()}\n" for part in parts}


def _head() -> str:
    return f"""# Benchmarks

Written by `make bench`. Absolute figures move with the machine; the ratios compare within one run.
Medians, with the smallest and largest sample in brackets. A ratio is the median of the ratios of each round, in which
one thing was measured after the other: the machine is slower in some rounds than in others.
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
    return f"{HEADING}{section.title}\n\n{section.how}\n\n{head}\n{rows}\n"


def _row(figure: Figure) -> str:
    spread = f"[{_number(min(figure.samples))} – {_number(max(figure.samples))}], n={len(figure.samples)}"
    return f"| {figure.name} | {_number(figure.median)} {figure.unit} | {spread} | {figure.ratios} | {figure.goal} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
