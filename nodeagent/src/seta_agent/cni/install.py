"""The plugin and its configuration on the host: put there when the agent is ready, taken away on uninstall.

Run by `main`. Level-based: every few seconds the files are compared with what they should be, because other installers
write into the same directories.
"""

import asyncio
import contextlib
from pathlib import Path

import orjson
import structlog

from seta_agent.cni import statefiles
from seta_agent.paths import Paths

log = structlog.get_logger()

PLUGIN = "seta-cni"
CONFLIST = "05-seta.conflist"
BACKUP = ".seta_bak"
CONFIG_SUFFIXES = frozenset({".conf", ".conflist", ".json"})
CHECK_SECONDS = 10.0
DAEMONSET = "seta"


def conflist(socket: Path) -> bytes:
    """Both versions: a runtime takes the highest it knows (containerd 1.6 knows 1.0.0 only)."""
    content = {
        "cniVersion": "1.0.0",
        "cniVersions": ["1.0.0", "1.1.0"],
        "name": "seta",
        "plugins": [{"type": PLUGIN, "socket": str(socket)}],
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n"


class Installer:
    """Owns three things on the host: the plugin, the conflist, and the names of other CNI configurations."""

    def __init__(self, paths: Paths, *, exclusive: bool) -> None:
        self._paths = paths
        self._exclusive = exclusive
        self._conflist = conflist(paths.plugin_socket_on_host)

    async def run(self) -> None:
        """Keeps the files as they should be, from now on; an error is logged and tried again."""
        while True:
            try:
                self.install()
            except OSError as error:
                log.warning("cni_install_failed", error=str(error))
            await asyncio.sleep(CHECK_SECONDS)

    def install(self) -> None:
        """The plugin before its configuration: a runtime may use it at once. Raises OSError."""
        _ensure(self._paths.cni_bin / PLUGIN, self._paths.plugin.read_bytes(), 0o755)
        if self._exclusive:
            self._set_others_aside()
        _ensure(self._paths.cni_conf / CONFLIST, self._conflist, 0o644)

    def uninstall(self) -> None:
        """Takes the configuration away and gives others their names back.

        The plugin stays: runtimes that remember a pod's configuration (CRI-O) still call it for that pod's DEL.
        """
        (self._paths.cni_conf / CONFLIST).unlink(missing_ok=True)
        for path in self._paths.cni_conf.glob(f"*{BACKUP}"):
            path.rename(path.with_name(path.name.removesuffix(BACKUP)))
        log.info("cni_uninstalled")

    def _set_others_aside(self) -> None:
        if not self._paths.cni_conf.is_dir():
            return
        for path in self._paths.cni_conf.iterdir():
            if path.suffix in CONFIG_SUFFIXES and path.name != CONFLIST and path.is_file():
                path.rename(path.with_name(path.name + BACKUP))
                log.info("cni_config_set_aside", file=path.name)


def _ensure(path: Path, content: bytes, mode: int) -> None:
    """Writes the file where it differs."""
    with contextlib.suppress(OSError):
        if path.read_bytes() == content and path.stat().st_mode & 0o777 == mode:
            return
    statefiles.write(path, content, mode)
    log.info("cni_file_written", path=str(path))
