"""The client against an API server over real HTTP."""

import asyncio
import base64
import os

import pytest
import yaml

from seta_agent import kube, kube_access
from seta_agent.kube import KubeClient, KubeError
from seta_agent.kube_access import Access, AccessError

NODES = "/apis/cilium.io/v2/ciliumnodes"
ENDPOINT = "/apis/cilium.io/v2/namespaces/default/ciliumendpoints/xwing"


@pytest.fixture
async def client(api):
    made = KubeClient(Access(api.url, None, fixed_token="secret"))  # noqa: S106
    yield made
    await made.close()


async def test_a_listing_is_read_in_pages(api, client):
    for name in "abcde":
        api.put(f"{NODES}/{name}", {})
    pages = [page async for page in client.pages(NODES)]
    assert [item["metadata"]["name"] for page in pages for item in page["items"]] == list("abcde")
    assert len(pages) == 3


@pytest.mark.parametrize("forgets", [False, True])
async def test_what_the_server_remembers_is_read_in_pages_too_and_anew_where_it_has_forgotten_it(api, client, forgets):
    for name in "abcde":
        api.put(f"{NODES}/{name}", {})
    api.forgets = forgets
    pages = [page async for page in client.pages(NODES, cached=True)]
    assert [item["metadata"]["name"] for page in pages for item in page["items"]] == list("abcde")
    assert len(api.requests) == 1 + forgets + 3


async def test_every_request_proves_who_we_are(api, client):
    [page async for page in client.pages(NODES)]
    assert api.headers[0]["Authorization"] == "Bearer secret"


async def test_a_watch_says_that_it_stands_and_then_what_happens(api, client):
    events = client.watch(NODES, "1")
    assert (await anext(events))["type"] == kube.CONNECTED
    big = {"spec": {"text": "x" * 200_000}}  # longer than any line limit
    api.put(f"{NODES}/a", big)
    event = await anext(events)
    assert (event["type"], len(event["object"]["spec"]["text"])) == ("ADDED", 200_000)
    await events.aclose()


async def test_an_expired_watch_says_so(api, client):
    events = client.watch(NODES, "1")
    await anext(events)
    api.tell(NODES, {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}})
    with pytest.raises(KubeError, match="too old") as caught:
        await anext(events)
    assert caught.value.expired


async def test_an_error_has_the_servers_own_words(api, client):
    with pytest.raises(KubeError, match="not found") as caught:
        await client.get(ENDPOINT)
    assert caught.value.gone
    api.status = 403
    with pytest.raises(KubeError) as caught:
        await client.get(ENDPOINT)
    assert caught.value.forbidden


async def test_apply_creates_and_changes(client):
    made = await client.apply(ENDPOINT, {"status": {"id": 1}}, "seta-agent")
    changed = await client.apply(ENDPOINT, {"status": {"id": 2}}, "seta-agent")
    assert made["metadata"]["uid"] == changed["metadata"]["uid"]
    assert changed["status"]["id"] == 2


async def test_a_delete_minds_its_preconditions(api, client):
    made = await client.apply(ENDPOINT, {}, "seta-agent")
    with pytest.raises(KubeError) as caught:
        await client.delete(ENDPOINT, {"resourceVersion": "0"})
    assert caught.value.status == 409
    await client.delete(ENDPOINT, {"resourceVersion": made["metadata"]["resourceVersion"]})
    assert ENDPOINT not in api.objects


async def test_a_server_that_is_not_there_is_one_kind_of_error():
    client = KubeClient(Access("http://127.0.0.1:1", None))
    with pytest.raises(KubeError) as caught:
        await client.get("/version")
    assert caught.value.status == 0
    with pytest.raises(KubeError):
        await anext(client.watch(NODES, "1"))
    await client.close()
    await asyncio.sleep(0)


def test_a_replaced_token_is_used(tmp_path, monkeypatch):
    token = tmp_path / "token"
    token.write_text("old\n")
    access = Access("https://api", None, token_file=token)
    assert access.headers() == {"Authorization": "Bearer old"}
    token.write_text("new")
    monkeypatch.setattr(kube_access, "TOKEN_MAX_AGE", 0.0)
    assert access.headers() == {"Authorization": "Bearer new"}


def test_a_kubeconfig_gives_server_and_token(tmp_path):
    config = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:8001/"}}],
        "users": [{"name": "u", "user": {"token": "t", "unused": base64.b64encode(b"x").decode()}}],
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    access = kube_access.from_kubeconfig(path)
    assert (access.server, access.headers()) == ("http://127.0.0.1:8001", {"Authorization": "Bearer t"})


@pytest.mark.parametrize("text", ["{}", "current-context: nowhere\ncontexts: []", "[]"])
def test_a_kubeconfig_without_a_context_is_one_sentence(tmp_path, text):
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(AccessError, match="no usable current context"):
        kube_access.from_kubeconfig(path)


def test_outside_of_a_pod_the_sentence_says_what_to_set(tmp_path, monkeypatch):
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.setitem(os.environ, name, "")
    with pytest.raises(AccessError, match="set KUBECONFIG"):
        kube_access.in_cluster(tmp_path)
