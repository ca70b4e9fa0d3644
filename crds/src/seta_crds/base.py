"""What all resource models share: the base classes, and how a model becomes a CRD.

Every resource module builds on this; `generate` reads `Resource.crd`.
"""

from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from seta_crds.names import Kind

JSON = dict[str, Any]

IntOrString = Annotated[int | str, Field(json_schema_extra={"x-kubernetes-int-or-string": True})]
Text = Annotated[str, Field(max_length=4096)]


def rule(expression: str, message: str) -> JSON:
    """One CEL rule; use as json_schema_extra={"x-kubernetes-validations": [rule(...)]}."""
    return {"rule": expression, "message": message}


def rules(*each: JSON) -> JSON:
    """The json_schema_extra of a model or field with these CEL rules."""
    return {"x-kubernetes-validations": list(each)}


class Model(BaseModel):
    """A part of a resource: camelCase in JSON, unknown fields refused."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


class ObjectMeta(BaseModel):
    """The part of metadata that is read here; the API server owns its schema."""

    model_config = ConfigDict(extra="ignore", alias_generator=to_camel, populate_by_name=True)

    name: str = ""
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Column(NamedTuple):
    """A column of `kubectl get`."""

    name: str
    type: str  # string, integer, boolean, date
    path: str  # JSONPath
    priority: int = 0  # 1: only with -o wide


AGE = Column("Age", "date", ".metadata.creationTimestamp")


class Crd(NamedTuple):
    """What a CustomResourceDefinition says besides its schema."""

    kind: Kind
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    status: bool = False  # has the status subresource
    also_served: tuple[str, ...] = ()  # older versions with the same schema


class Resource(Model):
    """A whole object. Subclasses name their `crd`."""

    crd: ClassVar[Crd]

    api_version: str
    kind: str
    metadata: ObjectMeta
