"""Runs each test's coroutine in a node of its own. These tests need root and a kernel with TCX (6.6)."""

import asyncio
import functools
import inspect
import os
import pathlib
import shutil
import tempfile

import pytest

from tests.datapath.agent import lab


def pytest_collection_modifyitems(items):
    reason = "needs root" if os.geteuid() else "needs cgroup2" if lab.CGROUP2 is None else ""
    for item in items:
        if pathlib.Path(__file__).parent in item.path.parents and reason:
            item.add_marker(pytest.mark.skip(reason=f"programming the kernel {reason}"))


@pytest.fixture
def cgroup():
    """An empty cgroup of this process; those of dead ones are removed."""
    for left in lab.CGROUP2.glob("ac-*"):
        if not pathlib.Path("/proc", left.name.removeprefix("ac-")).exists():
            left.rmdir()
    made = lab.CGROUP2 / f"ac-{os.getpid()}"
    made.mkdir(exist_ok=True)
    yield made
    made.rmdir()


@pytest.fixture
def in_node(cgroup):
    """`in_node(test)`: runs `async def test(lab)` in a new node."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="ac-"))

    async def work(test):
        node = lab.Lab(directory, cgroup)
        try:
            await test(node)
        finally:
            await node.stop()
            node.close()

    def run(test):
        def in_namespaces():
            lab.enter_namespaces(directory / "bpf")
            asyncio.run(work(test))

        lab.in_thread(in_namespaces)

    yield run
    shutil.rmtree(directory)


def on_a_node(test):
    """Makes a pytest test of `async def test(lab, ...)`."""
    names = [name for name in inspect.signature(test).parameters if name != "lab"]

    @functools.wraps(test)
    def wrapped(in_node, **fixtures):
        in_node(lambda node: test(node, **fixtures))

    parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("in_node", *names)]
    wrapped.__signature__ = inspect.Signature(parameters)
    return wrapped
