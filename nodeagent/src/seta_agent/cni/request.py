"""Bytes from the plugin → a checked request. Called by the server; pure.

The format is in the head comment of nodeagent/plugin/seta-cni.c.
"""

import dataclasses
from typing import Any

import orjson

from seta_agent.cni.errors import CniError, Code

GREETING = b"SETA-CNI 1"
DEFAULT_VERSION = "1.0.0"  # of an answer to who did not say
VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
IFNAME = "eth0"  # the only one: a pod has one interface of ours
COMMANDS = frozenset({"ADD", "DEL", "CHECK", "GC", "STATUS"})
WITH_CONTAINER = frozenset({"ADD", "DEL", "CHECK"})


@dataclasses.dataclass(frozen=True)
class PodRef:
    """Which pod the runtime means; `uid` is empty where it does not say (older runtimes)."""

    namespace: str
    name: str
    uid: str = ""


@dataclasses.dataclass(frozen=True)
class Request:
    command: str
    container_id: str
    pod: PodRef | None  # None on GC and STATUS, and on a DEL without CNI_ARGS
    netns: str  # its path as the runtime wrote it; only to be repeated in the answer
    config: dict[str, Any]
    version: str


def split(data: bytes) -> tuple[dict[str, str], bytes]:
    """The CNI_* variables and the config that follows them."""
    head, separator, config = data.partition(b"\n\n")
    greeting, *lines = head.split(b"\n")
    if greeting != GREETING or not separator:
        raise CniError(Code.IO_FAILURE, "the plugin and the agent do not speak the same protocol; reinstall the plugin")
    variables = (line.decode(errors="surrogateescape").partition("=") for line in lines)
    return {name: value for name, _, value in variables}, config


def parse(data: bytes) -> Request:
    """Raises CniError 1, 4, 5, 6 or 7."""
    environment, raw_config = split(data)
    config = _config(raw_config)
    version = config.get("cniVersion", DEFAULT_VERSION)
    if version not in VERSIONS:
        raise CniError(Code.INCOMPATIBLE_VERSION, f"CNI version {version} is not supported", ", ".join(VERSIONS))
    command = environment.get("CNI_COMMAND", "")
    if command not in COMMANDS:
        raise CniError(Code.BAD_ENVIRONMENT, f"CNI_COMMAND {command!r} is none of {', '.join(sorted(COMMANDS))}")
    return Request(
        command=command,
        container_id=_container(command, environment),
        pod=_pod(command, environment),
        netns=environment.get("CNI_NETNS", ""),
        config=config,
        version=version,
    )


def version_of(data: bytes) -> str:
    """For an error's answer: the asker's version where it can be read."""
    try:
        version = orjson.loads(split(data)[1]).get("cniVersion")
    except (CniError, orjson.JSONDecodeError, AttributeError):
        return DEFAULT_VERSION
    return version if version in VERSIONS else DEFAULT_VERSION


def _config(raw: bytes) -> dict[str, Any]:
    try:
        config = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise CniError(Code.DECODE_FAILURE, f"the network configuration is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise CniError(Code.DECODE_FAILURE, "the network configuration is no JSON object")
    if not isinstance(config.get("name"), str) or not config["name"]:
        raise CniError(Code.BAD_CONFIG, "the network configuration has no name")
    return config


def _container(command: str, environment: dict[str, str]) -> str:
    if command not in WITH_CONTAINER:
        return ""
    container_id = environment.get("CNI_CONTAINERID", "")
    if not container_id:
        raise CniError(Code.BAD_ENVIRONMENT, "CNI_CONTAINERID is not set")
    if environment.get("CNI_IFNAME", IFNAME) != IFNAME:
        raise CniError(Code.BAD_ENVIRONMENT, f"CNI_IFNAME is {environment['CNI_IFNAME']}; Seta makes {IFNAME} only")
    return container_id


def _pod(command: str, environment: dict[str, str]) -> PodRef | None:
    pairs = (pair.partition("=") for pair in environment.get("CNI_ARGS", "").split(";"))
    args = {name: value for name, _, value in pairs}
    namespace, name = args.get("K8S_POD_NAMESPACE"), args.get("K8S_POD_NAME")
    if namespace and name:
        return PodRef(namespace, name, args.get("K8S_POD_UID", ""))
    if command == "ADD":
        raise CniError(Code.BAD_ENVIRONMENT, "CNI_ARGS names no pod (K8S_POD_NAMESPACE and K8S_POD_NAME are needed)")
    return None
