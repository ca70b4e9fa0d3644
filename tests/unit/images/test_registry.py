"""Whether a registry is reachable: any registry's answer counts, nobody's does not, and it is quick either way."""

import http.server
import socket
import threading
import time

import pytest

from seta_playground.images import registry


@pytest.fixture
def server():
    """A server on loopback that answers with the status in the path."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(int(self.path.strip("/")))
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()


@pytest.mark.parametrize(("status", "reachable"), [(200, True), (401, True), (403, False), (502, False)])
def test_a_registry_lets_in_or_asks_who_is_there(server, status, reachable):
    assert registry.reachable(f"{server}/{status}") is reachable


def test_nobody_there_is_not_reachable():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert registry.reachable(f"http://127.0.0.1:{free.getsockname()[1]}/") is False


def test_somebody_who_says_nothing_is_given_up_on(monkeypatch):
    monkeypatch.setattr(registry, "TIMEOUT", 0.1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        assert registry.reachable(f"http://127.0.0.1:{silent.getsockname()[1]}/") is False
    assert time.monotonic() - began < 2
