"""Problems that the compiler finds in a policy, and the condition Valid that tells them. Used by compiler, policy."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from seta_crds import conditions
from seta_operator.store.facts import JSON


@dataclass(frozen=True)
class Problem:
    """One thing to change: the field, what is wrong with it, and what stays closed until it is changed."""

    path: str
    wrong: str
    closes: str = ""  # what it denies meanwhile, where that is not simply what the rule would allow
    beyond: bool = False  # understood and not enforced: what it does not concern works as written

    @property
    def sentence(self) -> str:
        """For people."""
        return f"{self.path} {self.wrong}" + (f", {self.closes} is denied meanwhile" if self.closes else "")


def condition(problems: Sequence[Problem], rules: int, before: Iterable[JSON], now: str) -> JSON:
    """The condition Valid; its transition time is kept from `before` while the status is the same."""
    if problems:
        told = conditions.told([problem.sentence for problem in problems])
        status, reason = "False", "NotEnforcedAsWritten"
        meanwhile = "the rule allows nothing there (fails closed)" if rules else "nothing of it is enforced"
        message = f"{told}. Remove or correct it; until then {meanwhile}."
    else:
        status, reason = "True", "Compiled"
        message = f"{rules} rule{'' if rules == 1 else 's'} compiled"
    return conditions.condition(before, "Valid", status, reason, message, now)
