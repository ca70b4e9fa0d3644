"""Pydantic in, structural schema out."""

from typing import Any, Literal

import pydantic
import pytest

from seta_crds import schema
from seta_crds.base import IntOrString, Model


class Inner(Model):
    """Inner thing."""

    camel_case: int | None = None


class Outer(Model):
    one: Inner
    several: list[Inner] | None = None
    word: Literal["only"] = "only"
    choice: Literal["a", "b"] | None = None
    number: IntOrString | None = None
    free: dict[str, Any] | None = None
    texts: dict[str, str] = pydantic.Field(default={})


def test_references_and_nulls_are_gone() -> None:
    inner = {"type": "object", "description": "Inner thing.", "properties": {"camelCase": {"type": "integer"}}}
    assert schema.structural(Outer.model_json_schema(by_alias=True)) == {
        "type": "object",
        "required": ["one"],
        "properties": {
            "one": inner,
            "several": {"type": "array", "items": inner},
            "word": {"type": "string", "enum": ["only"]},
            "choice": {"type": "string", "enum": ["a", "b"]},
            "number": {"x-kubernetes-int-or-string": True},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "texts": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    }


def test_a_description_beside_a_reference_wins() -> None:
    class Told(Model):
        one: Inner | None = pydantic.Field(default=None, description="Told here.")

    found = schema.structural(Told.model_json_schema(by_alias=True))
    assert found["properties"]["one"]["description"] == "Told here."


def test_a_default_is_emitted_only_where_it_is_asked_for() -> None:
    class Defaulted(Model):
        off: bool | None = pydantic.Field(default=None, json_schema_extra={schema.DEFAULT: False})
        quiet: bool = False

    found = schema.structural(Defaulted.model_json_schema(by_alias=True))["properties"]
    assert found == {"off": {"type": "boolean", "default": False}, "quiet": {"type": "boolean"}}


class Union(Model):
    both: int | list[int]


class Exclusive(Model):
    above: int = pydantic.Field(gt=0)


class Pair(Model):
    pair: tuple[int, str]


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (Union, r"\.both: a union other than with None"),
        (Exclusive, r"\.above: exclusiveMinimum has no place"),
        (Pair, r"\.pair: prefixItems has no place"),
    ],
)
def test_what_a_crd_cannot_say_stops_the_generation(model: type[Model], sentence: str) -> None:
    with pytest.raises(schema.SchemaError, match=sentence):
        schema.structural(model.model_json_schema(by_alias=True))
