"""A node's file system: the machine's own programs below, everything that is written on top and in memory.

Called once by node_init.py, in the node's new mount namespace. Nothing a node writes reaches the machine's
files, except in the directories that its spec binds (images and volumes, which would not fit into memory).
"""

from pathlib import Path

from seta_playground import cgroups, namespaces, node_spec

FRESH = ("/run", "/tmp", "/var/log", "/var/lib/etcd", "/etc/cni", "/opt/cni")  # noqa: S108 - the node's own /tmp


def enter(spec: node_spec.NodeSpec) -> None:
    """Put the file system together and make it the root of the calling process."""
    namespaces.mount("none", "/", flags=namespaces.MS_REC | namespaces.MS_PRIVATE)
    groups = cgroups.hierarchies()
    root = _overlay(Path(spec.scratch))
    for directory in FRESH:
        _tmpfs(root, directory)
    for outside, inside in spec.binds:
        target = root / inside.lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        namespaces.bind(outside, str(target))
    _kernel_file_systems(root, groups)
    for path, content in spec.files.items():
        _parent(root, path).write_text(content)
    for path, points_to in spec.links.items():
        _parent(root, path).symlink_to(points_to)
    namespaces.pivot(str(root))
    # Volumes with mount propagation need shared mounts, as on a machine that systemd started.
    namespaces.mount("none", "/", flags=namespaces.MS_REC | namespaces.MS_SHARED)


def _overlay(scratch: Path) -> Path:
    namespaces.mount("node", str(scratch), "tmpfs", options="mode=0755")
    upper, work, root = (scratch / name for name in ("upper", "work", "root"))
    for directory in (upper, work, root):
        directory.mkdir()
    namespaces.mount("node", str(root), "overlay", options=f"lowerdir=/,upperdir={upper},workdir={work}")
    return root


def _tmpfs(root: Path, directory: str) -> None:
    target = root / directory.lstrip("/")
    target.mkdir(parents=True, exist_ok=True)
    mode = "1777" if directory == "/tmp" else "0755"  # noqa: S108 - see FRESH
    namespaces.mount("node", str(target), "tmpfs", options=f"mode={mode}")


def _kernel_file_systems(root: Path, groups: list[cgroups.Hierarchy]) -> None:
    """/dev is the machine's; /proc and /sys show the node's own processes, network and cgroups."""
    namespaces.bind("/dev", str(root / "dev"))
    namespaces.mount("proc", str(root / "proc"), "proc")
    namespaces.mount("sysfs", str(root / "sys"), "sysfs")
    namespaces.mount("bpf", str(root / "sys/fs/bpf"), "bpf", options="mode=0700")
    if not groups[0].version2:
        namespaces.mount("cgroup", str(root / "sys/fs/cgroup"), "tmpfs", options="mode=0755")
    for group in groups:
        target = root / group.root.relative_to("/")
        target.mkdir(exist_ok=True)
        namespaces.mount("cgroup", str(target), "cgroup2" if group.version2 else "cgroup", options=group.options)


def _parent(root: Path, path: str) -> Path:
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    return target
