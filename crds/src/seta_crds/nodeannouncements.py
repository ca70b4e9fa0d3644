"""NodeAnnouncements: the addresses that one node answers for on the LAN. Written by the operator, read by its agent.

Its metadata.generation and uid are what the agent names in its heartbeat once it has put them into effect.
"""

from typing import ClassVar

from pydantic import Field

from seta_crds import names
from seta_crds.base import AGE, Column, Crd, Model, Resource


class Announcement(Model):
    namespace: str = Field(description="Of the Service.")
    name: str
    addresses: list[str]
    interfaces: list[str] = Field(
        default=[], description="Regular expressions, found anywhere in a device's name; none: all known devices."
    )


class NodeAnnouncementsSpec(Model):
    revision: int = Field(
        ge=1, description="Counts what the operator meant to write: a write whose answer was lost is told from none."
    )
    count: int = Field(ge=0, description="How many Services the list has, for people.")
    services: list[Announcement] = Field(
        description="A Service stands here more than once where its addresses are announced on different devices."
    )


class NodeAnnouncements(Resource):
    """Same name as the node. There is none where the node announces nothing."""

    crd: ClassVar[Crd] = Crd(
        names.NODE_ANNOUNCEMENTS,
        short_names=("nodeann",),
        categories=("seta",),
        columns=(
            Column("Revision", "integer", ".spec.revision"),
            Column("Services", "integer", ".spec.count"),
            AGE,
        ),
    )

    spec: NodeAnnouncementsSpec
