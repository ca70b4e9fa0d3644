"""What the plugin sends in, a checked request or a CNI error out."""

import json

import pytest

from seta_agent.cni import request, result
from seta_agent.cni.errors import CniError, Code
from seta_agent.cni.request import PodRef

CONFIG = {"cniVersion": "1.0.0", "name": "seta", "type": "seta-cni"}
VARIABLES = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "c1",
    "CNI_NETNS": "/var/run/netns/x",
    "CNI_IFNAME": "eth0",
    "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=xwing;K8S_POD_UID=u1",
}


def message(config: bytes | dict = CONFIG, **variables: str | None) -> bytes:
    chosen = {name: value for name, value in {**VARIABLES, **variables}.items() if value is not None}
    lines = ["SETA-CNI 1", *(f"{name}={value}" for name, value in chosen.items()), "", ""]
    return "\n".join(lines).encode() + (config if isinstance(config, bytes) else json.dumps(config).encode())


def test_an_add_names_its_container_its_pod_and_its_version():
    parsed = request.parse(message())
    assert (parsed.command, parsed.container_id, parsed.version) == ("ADD", "c1", "1.0.0")
    assert parsed.pod == PodRef("default", "xwing", "u1")


def test_a_delete_needs_no_pod():
    assert request.parse(message(CNI_COMMAND="DEL", CNI_ARGS=None)).pod is None


def test_a_status_needs_no_container():
    variables = dict.fromkeys(("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"))
    assert request.parse(message(CNI_COMMAND="STATUS", **variables)).command == "STATUS"


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        (message(b"this is no JSON"), Code.DECODE_FAILURE, "the network configuration is no JSON"),
        (message(b"[1]"), Code.DECODE_FAILURE, "no JSON object"),
        (message({"cniVersion": "1.0.0"}), Code.BAD_CONFIG, "no name"),
        (message({**CONFIG, "cniVersion": "9.9.9"}), Code.INCOMPATIBLE_VERSION, "9.9.9"),
        (message({**CONFIG, "cniVersion": ["1.0.0"]}), Code.INCOMPATIBLE_VERSION, "not supported"),
        (message(CNI_COMMAND="EXPLODE"), Code.BAD_ENVIRONMENT, "EXPLODE"),
        (message(CNI_CONTAINERID=""), Code.BAD_ENVIRONMENT, "CNI_CONTAINERID"),
        (message(CNI_IFNAME="net1"), Code.BAD_ENVIRONMENT, "eth0 only"),
        (message(CNI_ARGS="K8S_POD_NAME=xwing"), Code.BAD_ENVIRONMENT, "names no pod"),
        (b"GET / HTTP/1.1\r\n\r\n", Code.IO_FAILURE, "reinstall the plugin"),
        (b"", Code.IO_FAILURE, "same protocol"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_specifications_code(data, code, said):
    with pytest.raises(CniError, match=said) as caught:
        request.parse(data)
    assert caught.value.code is code


def test_an_error_answers_in_the_version_it_was_asked_in():
    assert request.version_of(message({"cniVersion": "0.4.0"})) == "0.4.0"
    assert request.version_of(message(b"nothing")) == request.DEFAULT_VERSION


@pytest.mark.parametrize(("version", "has_family"), [("0.3.1", True), ("1.0.0", False), ("1.1.0", False)])
async def test_a_result_has_the_form_of_its_version(world, version, has_family):
    await world.commands.run(request.parse(message()), 5)
    (endpoint,) = world.tables.endpoints
    made = result.add_result(endpoint, endpoint.ipv4 - 1, "/var/run/netns/x", version)
    assert made["cniVersion"] == version
    assert made["ips"][0]["address"] == "10.0.1.2/32"
    assert ("version" in made["ips"][0]) is has_family
    assert made["interfaces"][1] == {"name": "eth0", "mac": endpoint.mac, "sandbox": "/var/run/netns/x"}
    assert made["routes"][-1] == {"dst": "0.0.0.0/0", "gw": "10.0.1.1"}
