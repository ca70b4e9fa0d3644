"""The committed manifests are what the models say, and every policy in the repository is one to the models."""

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from seta_crds import generate
from seta_crds.networkpolicy import CiliumClusterwideNetworkPolicy, CiliumNetworkPolicy

ROOT = pathlib.Path(__file__).parents[3]
MANIFESTS = ROOT / "deploy/chart/crds"
POLICIES = {model.crd.kind.kind: model for model in (CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy)}

DEFAULTS = {("CiliumLoadBalancerIPPool", ".spec.disabled")}  # users read them in columns


def test_the_manifests_are_generated_from_the_models() -> None:
    committed = {path.name: path.read_text() for path in MANIFESTS.iterdir()}
    assert committed == generate.render(), "run: python -m seta_crds.generate"


def test_generate_writes_all_and_removes_what_is_stale(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stale.yaml").write_text("")
    monkeypatch.setattr("sys.argv", ["generate", str(tmp_path)])
    generate.main()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == generate.render()


@pytest.mark.parametrize("resource", generate.RESOURCES, ids=lambda resource: resource.crd.kind.kind)
def test_schemas_are_structural(resource: Any) -> None:
    manifest = generate.manifest(resource)
    schema = manifest["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for path, node in nodes(schema, ""):
        assert "type" in node or node.get("x-kubernetes-int-or-string"), f"{path} has no type"
        assert not {"$ref", "$defs", "anyOf", "oneOf", "allOf", "const", "title"} & node.keys(), path
        assert "default" not in node or (resource.crd.kind.kind, path) in DEFAULTS, path
        assert not ("properties" in node and "additionalProperties" in node), path


def nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from nodes(schema[key], f"{path}.{key}")


def policies() -> Iterator[Any]:
    for file in sorted([*(ROOT / "examples").rglob("*.yaml"), *(ROOT / "tests/api").rglob("*in.yaml")]):
        for n, body in enumerate(yaml.safe_load_all(file.read_text())):
            if body and body.get("kind") in POLICIES:
                yield pytest.param(body, id=f"{file.relative_to(ROOT)}-{n}")


@pytest.mark.parametrize("body", list(policies()))
def test_every_policy_in_the_repository_is_one(body: dict[str, Any]) -> None:
    full = {"apiVersion": "cilium.io/v2", **body}
    model = POLICIES[body["kind"]].model_validate(full)
    written = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert {key: written.get(key) for key in ("spec", "specs")} == {key: full.get(key) for key in ("spec", "specs")}
