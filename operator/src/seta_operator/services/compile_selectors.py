"""The compiler's part about who: a policy's label selectors in their scope. Pure; used by compiler.py.

Scope: a selector in a namespaced policy means that namespace, unless it names a namespace (or its labels, or a
reserved: label) itself; in a clusterwide policy it means endpoints of every namespace. A subject is always of the
policy's own namespace.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from seta_crds import labels, selectors
from seta_crds.policy_peers import LabelSelector
from seta_crds.selectors import Requirement, Selector
from seta_operator.services.problems import Problem


@dataclass(frozen=True)
class Scope:
    """The policy's namespace; empty for a clusterwide policy."""

    namespace: str

    @property
    def requirement(self) -> Requirement:
        """What every selector that names no namespace also wants."""
        if self.namespace:
            return Requirement("k8s", labels.NAMESPACE, "In", (self.namespace,))
        return Requirement("k8s", labels.NAMESPACE, "Exists")


def peers(scope: Scope, wanted: Sequence[LabelSelector], path: str) -> tuple[list[Selector], list[Problem]]:
    """Selectors of fromEndpoints or toEndpoints."""
    found, problems = [], []
    for n, one in enumerate(wanted):
        requirements, wrong = _requirements(one, f"{path}[{n}]")
        problems += wrong
        if not any(_names_scope(scope, requirement) for requirement in requirements):
            requirements.append(scope.requirement)
        found.append(selectors.selector(requirements))
    return found, problems


def subject(scope: Scope, wanted: LabelSelector, path: str) -> tuple[Selector, list[Problem]]:
    """The endpoints a rule is about. Parts that cannot be are left out: it then selects more, and closes more."""
    requirements, problems = _requirements(wanted, path)
    if scope.namespace:
        own = {f"k8s:{labels.NAMESPACE}": scope.namespace}
        named = [one for one in requirements if one.key == labels.NAMESPACE]
        requirements = [one for one in requirements if one.key != labels.NAMESPACE]
        if not all(one.holds(own) for one in named):
            wrong = f"selects another namespace than the policy's own ({scope.namespace})"
            problems.append(Problem(path, f"{wrong}: use a CiliumClusterwideNetworkPolicy"))
        requirements.append(scope.requirement)
    elif not any(_names_scope(scope, requirement) for requirement in requirements):
        requirements.append(scope.requirement)
    return selectors.selector(requirements), problems


def plain(wanted: LabelSelector, path: str) -> tuple[Selector, list[Problem]]:
    """A selector of objects that are in no namespace, or whose namespace is said beside it: nodes, services, groups."""
    requirements, problems = _requirements(wanted, path)
    return selectors.selector(requirements), problems


def _requirements(wanted: LabelSelector, path: str) -> tuple[list[Requirement], list[Problem]]:
    found: list[Requirement] = []
    problems: list[Problem] = []
    raw = [(key, "In", [value], f"{path}.matchLabels") for key, value in (wanted.match_labels or {}).items()]
    for n, one in enumerate(wanted.match_expressions or []):
        raw.append((one.key, one.operator, one.values or [], f"{path}.matchExpressions[{n}]"))
    for key, operator, values, where in raw:
        try:
            found.append(selectors.requirement(key, operator, values))
        except selectors.SelectorError as error:
            problems.append(Problem(where, f"is no selector: {error}"))
    return found, problems


def _names_scope(scope: Scope, requirement: Requirement) -> bool:
    """Whether the requirement itself says where: a reserved identity, a namespace, or a namespace's label.

    The last says nothing in a clusterwide policy: what is in no namespace lacks every label of one, and a selector of
    pods must not mean it.
    """
    return (
        requirement.source == "reserved"
        or requirement.key == labels.NAMESPACE
        or (bool(scope.namespace) and requirement.key.startswith(labels.NAMESPACE_LABELS))
    )
