"""What the API server itself refuses, and the sentence the user reads; and what kubectl shows."""

import pathlib

import pytest
import yaml

from tests.api.client import Client
from tests.api.controlplane import ROOT, ControlPlane

POLICY = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: bad, namespace: default}
"""
HEAD = "spec: {endpointSelector: {}, "
REFUSED = {  # what stands below metadata -> part of the answer
    HEAD + "foo: 1, ingress: [{}]}": 'unknown field "spec.foo"',
    HEAD + "ingress: [{fromEndpoint: [{}]}]}": 'unknown field "spec.ingress[0].fromEndpoint"',
    HEAD + "ingress: [{toPorts: [{ports: [{port: '80', proto: TCP}]}]}]}": (
        'unknown field "spec.ingress[0].toPorts[0].ports[0].proto"'
    ),
    "{}": "at least one of spec and specs is required",
    "spec: {ingress: [{}]}": "rule must have exactly one of endpointSelector and nodeSelector",
    HEAD + "nodeSelector: {}, ingress: [{}]}": "rule must have exactly one of endpointSelector and nodeSelector",
    HEAD + "ingress: []}": "rule must have at least one of ingress, ingressDeny, egress, egressDeny",
    "spec: {endpointSelector: {matchLabels: {a: b c}}, ingress: [{}]}": "spec.endpointSelector.matchLabels.a",
    "spec: {endpointSelector: {matchExpressions: [{key: a, operator: In}]}, ingress: [{}]}": (
        "operator In or NotIn wants values, Exists or DoesNotExist wants none"
    ),
    "spec: {endpointSelector: {matchExpressions: [{key: a, operator: Like, values: [b]}]}, ingress: [{}]}": (
        'supported values: "In", "NotIn", "Exists", "DoesNotExist"'
    ),
    HEAD + "ingress: [{toPorts: [{ports: [{port: 80}]}]}]}": 'must be of type string: "integer"',
    HEAD + "ingress: [{toPorts: [{ports: [{port: '70000'}]}]}]}": "spec.ingress[0].toPorts[0].ports[0].port",
    HEAD + "ingress: [{toPorts: [{ports: [{port: '80', protocol: FOO}]}]}]}": 'Unsupported value: "FOO"',
    HEAD + "ingress: [{toPorts: [{ports: [{port: '80', endPort: 65536}]}]}]}": "less than or equal to 65535",
    HEAD + "ingress: [{fromEntities: [everybody]}]}": 'Unsupported value: "everybody"',
    HEAD + "ingress: [{fromRequires: [{}]}]}": "must have at most 0 items",
    HEAD + "ingress: [{fromCIDR: [somewhere]}]}": "spec.ingress[0].fromCIDR[0]",
    HEAD + "ingress: all}": 'must be of type array: "string"',
}


@pytest.mark.parametrize(("below", "sentence"), REFUSED.items())
def test_kubectl_apply_is_refused(plane: ControlPlane, below: str, sentence: str) -> None:
    answer = plane.kubectl("apply", "-f", "-", text=POLICY + (below if below != "{}" else ""), check=False)
    assert answer.returncode != 0
    assert sentence in answer.stderr


def test_server_side_apply_takes_a_selector_as_a_whole(plane: ControlPlane) -> None:
    for selector in ("{matchLabels: {app: a}}", "{}", "{matchExpressions: [{key: app, operator: Exists}]}", "{}"):
        manifest = POLICY.replace("bad", "whole") + f"spec: {{endpointSelector: {selector}, ingress: [{{}}]}}"
        plane.kubectl("apply", "--server-side", "-f", "-", text=manifest)
        answer = plane.kubectl("get", "cnp", "whole", "-o", "jsonpath={.spec.endpointSelector}")
        assert yaml.safe_load(answer.stdout) == yaml.safe_load(selector)


WHOLE = pathlib.Path(__file__).with_name("whole-language.yaml")


def test_the_whole_language_is_accepted(plane: ControlPlane, api: Client) -> None:
    answer = plane.kubectl("apply", "-f", str(WHOLE), check=False)
    assert answer.stderr == ""


EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))
POLICIES = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_example_policies_are_accepted(file: pathlib.Path, api: Client) -> None:
    for body in yaml.safe_load_all(file.read_text()):
        if body and body["kind"] in POLICIES:
            if namespace := body["metadata"].get("namespace"):
                api.apply({"kind": "Namespace", "metadata": {"name": namespace}})
            api.apply(body, dry_run=True)


def test_the_demo_is_accepted(plane: ControlPlane) -> None:
    answer = plane.kubectl("apply", "--dry-run=server", "-f", str(ROOT / "examples/starwars"), check=False)
    assert answer.stderr == ""


COLUMNS = {
    "cnp": "NAME AGE VALID",
    "ccnp": "NAME VALID",
    "ciliumid": "NAME NAMESPACE AGE",
    "cn": "NAME CILIUMINTERNALIP INTERNALIP AGE",
    "cep": "NAME SECURITY IDENTITY ENDPOINT STATE IPV4 IPV6",
    "svctable": "NAME TYPE FRONTENDS AGE",
    "cpol": "NAME KIND NAMESPACE POLICY GENERATION AGE",
    "selset": "NAME SELECTOR IDENTITIES AGE",
}
SAMPLE = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: it, namespace: default}
spec: {endpointSelector: {}, ingress: [{}]}
---
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: it}
spec: {endpointSelector: {}, ingress: [{}]}
---
apiVersion: cilium.io/v2
kind: CiliumIdentity
metadata: {name: "300", labels: {io.kubernetes.pod.namespace: default}}
security-labels: {"k8s:a": b}
---
apiVersion: cilium.io/v2
kind: CiliumNode
metadata: {name: it}
spec: {addresses: [{type: InternalIP, ip: 192.168.10.101}]}
---
apiVersion: cilium.io/v2
kind: CiliumEndpoint
metadata: {name: it, namespace: default}
status: {identity: {id: 300}, state: ready, networking: {addressing: [{ipv4: 10.0.0.2}]}}
---
apiVersion: seta.dev/v1alpha1
kind: ServiceTable
metadata: {name: it, namespace: default}
spec: {type: ClusterIP, ports: []}
---
apiVersion: seta.dev/v1alpha1
kind: CompiledPolicy
metadata: {name: it}
spec: {source: {kind: CiliumNetworkPolicy, name: it}, rules: []}
---
apiVersion: seta.dev/v1alpha1
kind: SelectorSet
metadata: {name: ss-it}
spec: {selector: "*", identities: [1]}
"""


def test_columns_are_the_ones_people_know(plane: ControlPlane, lone_operator: object) -> None:
    plane.kubectl("apply", "-f", "-", text=SAMPLE)
    for short_name, columns in COLUMNS.items():
        header = plane.kubectl("get", short_name, "-n", "default").stdout.splitlines()[0]
        assert header.split() == columns.split(), short_name
    assert "300 ready 10.0.0.2" in " ".join(plane.kubectl("get", "cep", "it").stdout.splitlines()[1].split())
