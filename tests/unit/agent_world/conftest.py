import pytest

from tests.unit.agent_world.apiserver import FakeApiServer
from tests.unit.agent_world.world import World


@pytest.fixture
def world(tmp_path, monkeypatch) -> World:
    """A node whose interfaces are the fake kernel's."""
    made = World(tmp_path / "endpoints")
    monkeypatch.setattr(
        "seta_agent.cni.endpoints.interface_exists", lambda endpoint: endpoint.ifname in made.kernel.veths
    )
    monkeypatch.setattr("seta_agent.cni.netns.same_namespace", lambda _: False)
    return made


@pytest.fixture
async def api():
    server = FakeApiServer()
    await server.start()
    yield server
    await server.stop()
