"""Where the agent keeps and finds its files: one place, so that tests can move all of them.

Made once by `main`; the same in every installation (the chart mounts them), therefore no settings.
"""

import dataclasses
import os
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Paths:
    run: Path  # on the host, the same path in the agent's container
    cni_bin: Path  # the host's /opt/cni/bin
    cni_conf: Path  # the host's /etc/cni/net.d
    plugin: Path  # the plugin in the image
    plugin_socket_on_host: Path  # where the plugin, on the host, finds the agent

    @property
    def cni_socket(self) -> Path:
        return self.run / "cni.sock"

    @property
    def api_socket(self) -> Path:
        return self.run / "seta.sock"

    @property
    def state(self) -> Path:
        return self.run / "state"


def from_environment() -> Paths:
    """The chart's paths; SETA_RUN_DIR, SETA_CNI_BIN, SETA_CNI_CONF and SETA_PLUGIN move them (tests)."""
    run = Path(os.environ.get("SETA_RUN_DIR", "/var/run/seta"))
    return Paths(
        run=run,
        cni_bin=Path(os.environ.get("SETA_CNI_BIN", "/host/opt/cni/bin")),
        cni_conf=Path(os.environ.get("SETA_CNI_CONF", "/host/etc/cni/net.d")),
        plugin=Path(os.environ.get("SETA_PLUGIN", "/usr/lib/seta/seta-cni")),
        plugin_socket_on_host=run / "cni.sock",
    )
