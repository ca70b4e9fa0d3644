"""The operator's settings: one file per key in a directory, as the ConfigMap seta-config is mounted.

Keys of other parts are ignored. A bad value stops the start with one sentence that names the key, the value, and
the Helm value behind it.
"""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from seta_crds.labels import LabelFilter

DIRECTORY = Path("/etc/seta/config")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}  # unit -> seconds


class SettingsError(Exception):
    """A setting cannot be used; the message is for the person who set it."""


def _seconds(value: Any) -> float:
    """A duration as Helm users write it: 15m, 1h30m, 90s, 250ms."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", str(value))
    if not parts or "".join(number + unit for number, unit in parts) != str(value):
        raise ValueError("is no duration: write for example 15m, 1h30m or 90s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _words(value: Any) -> Any:
    return value.split() if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Seconds = Annotated[float, BeforeValidator(_seconds)]


class Settings(BaseModel):
    """Each field: the ConfigMap's key with underscores; `title` is the Helm value."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    ipam: Literal["cluster-pool"] = Field("cluster-pool", title="ipam.mode")
    cluster_pool_ipv4_cidr: Words = Field(("10.0.0.0/8",), title="ipam.operator.clusterPoolIPv4PodCIDRList")
    cluster_pool_ipv4_mask_size: int = Field(24, ge=8, le=30, title="ipam.operator.clusterPoolIPv4MaskSize")
    cluster_name: str = Field("default", min_length=1, max_length=32, title="cluster.name")
    identity_gc_interval: Seconds = Field(900.0, gt=0, title="identityGCInterval")
    labels: Words = Field((), title="labels")
    policy_cidr_match_mode: Annotated[tuple[Literal["nodes"], ...], BeforeValidator(_words)] = Field(
        (), title="policyCIDRMatchMode"
    )
    enable_host_firewall: bool = Field(default=False, title="hostFirewall.enabled")
    k8s_service_proxy_name: str = Field("", title="k8s.serviceProxyName")
    bpf_lb_algorithm_annotation: bool = Field(default=False, title="bpf.lbAlgorithmAnnotation")
    bpf_lb_mode_annotation: bool = Field(default=False, title="bpf.lbModeAnnotation")
    default_lb_service_ipam: Literal["lbipam", "none"] = Field("lbipam", title="defaultLBServiceIPAM")
    enable_l2_announcements: bool = Field(default=False, title="l2announcements.enabled")
    l2_announcements_lease_duration: Seconds = Field(15.0, gt=0, title="l2announcements.leaseDuration")
    l2_announcements_renew_deadline: Seconds = Field(5.0, gt=0, title="l2announcements.leaseRenewDeadline")
    l2_announcements_retry_period: Seconds = Field(2.0, gt=0, title="l2announcements.leaseRetryPeriod")
    debug: bool = Field(default=False, title="debug.enabled")

    @field_validator("cluster_pool_ipv4_cidr")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("names no range")
        networks = []
        for text in value:
            try:
                networks.append(ipaddress.IPv4Network(text))
            except ValueError as error:
                raise ValueError(f"{text} is no IPv4 range: {error}") from error
        for n, one in enumerate(networks):
            for other in networks[:n]:
                if one.overlaps(other):
                    raise ValueError(f"{one} overlaps {other}")
        return value

    @field_validator("labels")
    @classmethod
    def _patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        LabelFilter(value)
        return value

    def check(self) -> None:
        """What concerns several settings.

        Raises:
            SettingsError: a range is smaller than one node's share, or a lease's times do not fit into each other.

        """
        for text in self.cluster_pool_ipv4_cidr:
            if ipaddress.IPv4Network(text).prefixlen > self.cluster_pool_ipv4_mask_size:
                raise SettingsError(
                    f"cluster-pool-ipv4-mask-size is {self.cluster_pool_ipv4_mask_size}, which is more than the range "
                    f"{text} holds: raise ipam.operator.clusterPoolIPv4MaskSize or widen the range"
                )
        self._check_leases()

    def _check_leases(self) -> None:
        duration, deadline, retry = (
            getattr(self, f"l2_announcements_{name}") for name in ("lease_duration", "renew_deadline", "retry_period")
        )
        if duration <= deadline:
            raise SettingsError(
                f"l2-announcements-lease-duration is {duration:g}s and l2-announcements-renew-deadline {deadline:g}s: "
                "a node must have stopped to answer before another starts; make l2announcements.leaseDuration longer "
                "than l2announcements.leaseRenewDeadline"
            )
        if deadline <= 1.2 * retry:
            raise SettingsError(
                f"l2-announcements-renew-deadline is {deadline:g}s and l2-announcements-retry-period {retry:g}s: "
                "one late renewal would end the announcements; make l2announcements.leaseRenewDeadline more than "
                "1.2 times l2announcements.leaseRetryPeriod"
            )


def read(directory: Path = DIRECTORY) -> Settings:
    """Settings in a directory; a key without a file has its default.

    Raises:
        SettingsError: with one sentence.

    """
    if not directory.is_dir():
        raise SettingsError(f"{directory} is no directory: mount the ConfigMap seta-config there")
    raw: dict[str, str] = {}
    for name in Settings.model_fields:
        file = directory / name.replace("_", "-")
        if file.is_file() and (text := file.read_text().strip()):
            raw[name] = text
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from error
    settings.check()
    return settings


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    name = str(first["loc"][0])
    why = first["msg"].removeprefix("Value error, ")
    title = Settings.model_fields[name].title
    return f'{name.replace("_", "-")} is "{first["input"]}": {why}; correct the Helm value {title}'
