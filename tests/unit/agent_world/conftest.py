import pytest

from tests.unit.agent_world.apiserver import FakeApiServer
from tests.unit.agent_world.world import World


async def cookie(netns_fd: int) -> int:
    """A namespace's, made of its descriptor."""
    return 4000 + netns_fd


@pytest.fixture
def world(tmp_path, monkeypatch) -> World:
    """A node whose interfaces are the fake kernel's."""
    made = World(tmp_path / "endpoints")
    monkeypatch.setattr(
        "seta_agent.cni.endpoints.interface_exists", lambda endpoint: endpoint.ifname in made.kernel.veths
    )
    monkeypatch.setattr("seta_agent.cni.netns.same_namespace", lambda _: False)
    monkeypatch.setattr("seta_agent.cni.netns.cookie", cookie)
    return made


@pytest.fixture
async def api():
    server = FakeApiServer()
    await server.start()
    yield server
    await server.stop()
