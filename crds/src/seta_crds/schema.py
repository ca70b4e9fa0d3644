"""From a pydantic JSON schema to a structural OpenAPI schema that the API server takes.

Called by `generate`. Each thing pydantic writes that a structural schema refuses or silently ignores
is rewritten here, or stops the generation with its path: nothing is dropped unseen.
"""

from typing import Any

JSON = dict[str, Any]

_KEPT = {
    "type",
    "format",
    "description",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "required",
    "nullable",
}
_DROPPED = {"title", "$defs", "default"}  # a default would make the API server rewrite users' objects
DEFAULT = "x-seta-default"  # a field's default that users rely on all the same: in json_schema_extra, with its value


class SchemaError(Exception):
    """A model says something that a CRD cannot; the message has the path of the field."""


def structural(schema: JSON) -> JSON:
    """The whole schema of a model with every $ref inlined."""
    return _node(schema, schema.get("$defs", {}), "")


def _node(node: JSON, defs: JSON, path: str) -> JSON:
    node = _merged(node, defs, path)
    if node.get("x-kubernetes-int-or-string"):
        node = {key: value for key, value in node.items() if key != "anyOf"}
    result: JSON = {}
    for key, value in node.items():
        if key in _DROPPED:
            continue
        if key in _KEPT or key.startswith("x-kubernetes-"):
            result[key] = value
        elif key == DEFAULT:
            result["default"] = value
        elif key == "const":
            result["enum"] = [value]
        elif key == "properties":
            result[key] = {name: _node(child, defs, f"{path}.{name}") for name, child in value.items()}
        elif key == "items":
            result[key] = _node(value, defs, f"{path}[]")
        elif key == "additionalProperties":
            if value is True:
                result["x-kubernetes-preserve-unknown-fields"] = True
            elif value is not False:  # false is what a structural schema without the key means
                result[key] = _node(value, defs, f"{path}.*")
        else:
            raise SchemaError(f"{path or 'top'}: {key} has no place in a structural schema")
    return result


def _merged(node: JSON, defs: JSON, path: str) -> JSON:
    """The node without $ref, allOf of one, and anyOf with null; what stands beside them wins."""
    while True:
        beside = {key: value for key, value in node.items() if key not in ("$ref", "allOf", "anyOf")}
        if "$ref" in node:
            node = {**defs[node["$ref"].rpartition("/")[2]], **beside}
        elif len(node.get("allOf", ())) == 1:
            node = {**node["allOf"][0], **beside}
        elif "anyOf" in node and not node.get("x-kubernetes-int-or-string"):
            choices = [choice for choice in node["anyOf"] if choice.get("type") != "null"]
            if len(choices) != 1:
                raise SchemaError(f"{path}: a union other than with None has no place in a structural schema")
            node = {**choices[0], **beside}
        else:
            return node
