"""Answers of several agents → one output. Called by `main` outside of a node; pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from seta_agent.cli import table
from seta_agent.cli.table import Row

OWN_OPTIONS = ("--node", "-o", "--output")


def bare_words(words: Sequence[str]) -> list[str]:
    """The command without what is ours to do: choosing nodes and formatting."""
    kept: list[str] = []
    skip = False
    for word in words:
        name, _, value = word.partition("=")
        if skip:
            skip = False
        elif word == "--no-headers":
            continue
        elif name in OWN_OPTIONS:
            skip = not value
        elif not (word.startswith("-o") and len(word) > 2):
            kept.append(word)
    return kept


def union(answers: Mapping[str, Any], key: Callable[[Any], Any]) -> list[Any]:
    """One entry per key, the first node's; in the order of the keys."""
    found: dict[Any, Any] = {}  # key -> entry
    for items in answers.values():
        for item in items if isinstance(items, list) else [items]:
            found.setdefault(key(item), item)
    return [found[one] for one in sorted(found)]


def text(shown: list[Row] | str) -> str:
    return shown if isinstance(shown, str) else table.render(shown)


def by_node(shown: Mapping[str, list[Row] | str], header: int, *, with_header: bool) -> str:
    """One table with a NODE column; texts that are no tables stand under their node's name."""
    rows: list[Row] = []
    texts: list[str] = []
    for node, content in shown.items():
        if isinstance(content, str):
            texts.append(f"# {node}\n{content}")
        else:
            marked = table.with_node(content, node, header=header)
            rows += marked if with_header and not rows else marked[header:]
    return "\n\n".join(([table.render(rows)] if rows else []) + texts)
