"""Label selectors in canonical form: text, name of the selector set, and whether labels match.

Called by the operator's policy compiler and by whoever wants to read a SelectorSet's text. Two
selectors that ask for the same requirements, in whatever order and spelling, have one text and
so share one set. Pure; no heavy imports (the agent may use it).
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

SOURCES = ("any", "k8s", "reserved")
OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
_KEY = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9.]{0,251}[A-Za-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


class SelectorError(ValueError):
    """A selector that cannot be meant; the message says which part."""


class Requirement(NamedTuple):
    """One condition on one label."""

    source: str  # any, k8s or reserved; any = whatever the label's source
    key: str
    operator: str  # In, NotIn, Exists, DoesNotExist
    values: tuple[str, ...] = ()  # sorted, unique; empty for Exists and DoesNotExist

    @property
    def text(self) -> str:
        """As kubectl writes selectors, the key with its source."""
        key = f"{self.source}:{self.key}"
        match self.operator:
            case "Exists":
                return key
            case "DoesNotExist":
                return f"!{key}"
            case "In" if len(self.values) == 1:
                return f"{key}={self.values[0]}"
            case _:
                return f"{key} {self.operator.lower()} ({','.join(self.values)})"

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether labels (`source:key` -> value) satisfy it; NotIn holds where the key is absent."""
        sources = SOURCES[1:] if self.source == "any" else (self.source,)
        found = [labels[name] for source in sources if (name := f"{source}:{self.key}") in labels]
        match self.operator:
            case "Exists":
                return bool(found)
            case "DoesNotExist":
                return not found
            case "In":
                return any(value in self.values for value in found)
            case _:
                return not any(value in self.values for value in found)


class Selector(NamedTuple):
    """All requirements must hold; none at all matches everything. Make it with `selector`."""

    requirements: tuple[Requirement, ...]

    @property
    def text(self) -> str:
        """Canonical form; `*` for the selector that matches everything."""
        return ",".join(requirement.text for requirement in self.requirements) or "*"

    @property
    def set_name(self) -> str:
        """Name of the SelectorSet that holds what this selector matches."""
        return f"ss-{hashlib.sha256(self.text.encode()).hexdigest()[:16]}"

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an identity's labels (`source:key` -> value) match."""
        return all(requirement.holds(labels) for requirement in self.requirements)


def requirement(key: str, operator: str, values: Iterable[str] = ()) -> Requirement:
    """One requirement of a user's spelling: `app`, `any:app`, `k8s:app`, `reserved:host`.

    Raises:
        SelectorError: unknown source or operator, no label key or value, or values where none belong.

    """
    source, colon, bare = key.partition(":")
    if not colon:
        source, bare = "any", key
    distinct = tuple(sorted(set(values)))
    if source not in SOURCES:
        raise SelectorError(f'label source "{source}" in "{key}" is unknown: write any:, k8s: or reserved:')
    if not _KEY.fullmatch(bare):
        raise SelectorError(f'"{key}" is no label key')
    if operator not in OPERATORS:
        raise SelectorError(f'operator "{operator}" is unknown: write {", ".join(OPERATORS)}')
    if (operator in ("In", "NotIn")) != bool(distinct):
        wanted = "at least one value" if not distinct else "no values"
        raise SelectorError(f'operator {operator} on "{key}" wants {wanted}')
    for value in distinct:
        if not _VALUE.fullmatch(value):
            raise SelectorError(f'"{value}" is no label value')
    return Requirement(source, bare, operator, distinct)


def selector(requirements: Iterable[Requirement]) -> Selector:
    """The canonical selector of these requirements."""
    return Selector(tuple(sorted(set(requirements))))
