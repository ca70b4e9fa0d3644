"""Writes the table of Helm values in docs/install.md from the comments in deploy/chart/values.yaml.

Run by hand after a value changed; `--check` (tests/unit/chart) tells whether the page is as it would be written.
A value's comment is the lines that begin with `# --` above it.
"""

import json
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import yaml

ROOT = pathlib.Path(__file__).parents[1]
VALUES = ROOT / "deploy/chart/values.yaml"
PAGE = ROOT / "docs/install.md"
BEGIN, END = "<!-- values: written by tools/values_table.py -->", "<!-- end of values -->"


def documented(text: str) -> Iterator[tuple[str, str]]:
    """Each documented value's path and sentence, in the order of the file."""
    path: list[str] = []
    sentence = ""
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# -- "):
            sentence = stripped.removeprefix("# -- ")
        elif ":" in stripped and not stripped.startswith(("#", "-")):
            depth = (len(line) - len(line.lstrip())) // 2
            path[depth:] = [stripped.partition(":")[0]]
            if sentence:
                yield ".".join(path), sentence
                sentence = ""


def default(values: dict[str, Any], path: str) -> str:
    found: Any = values
    for name in path.split("."):
        found = found[name]
    return json.dumps(found)


def table(text: str) -> str:
    values = yaml.safe_load(text)
    rows = [f"| `{path}` | `{default(values, path)}` | {sentence} |" for path, sentence in documented(text)]
    return "\n".join(["| value | default | meaning |", "|---|---|---|", *rows])


def page(current: str, text: str) -> str:
    """The page with its table replaced."""
    before, _, rest = current.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(text)}\n{END}{after}"


def main() -> int:
    current = PAGE.read_text()
    wanted = page(current, VALUES.read_text())
    if "--check" in sys.argv:
        if wanted != current:
            print("docs/install.md is not what deploy/chart/values.yaml says: run tools/values_table.py")
        return int(wanted != current)
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
