"""NodePolicyStatus: which revision of which policy a node enforces. Written by its agent, read by the operator.

One object per node, not a field in each policy: agents write once for any number of policies.
"""

from typing import ClassVar

from pydantic import Field

from seta_crds import names
from seta_crds.base import AGE, Crd, Model, Resource


class NodeEnforcement(Model):
    enforced: dict[str, int] | None = Field(
        default=None, description="CompiledPolicy to the generation of its source that the node enforces."
    )


class NodePolicyStatus(Resource):
    """Same name as the node. Its status is no subresource: the agent makes the object by writing it."""

    crd: ClassVar[Crd] = Crd(names.NODE_POLICY_STATUS, short_names=("nps",), categories=("seta",), columns=(AGE,))

    status: NodeEnforcement | None = None
