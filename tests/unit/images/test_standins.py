"""The stand-ins answer as what they stand in for does."""

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess

import pytest

from seta_playground.images.catalogue import STANDINS


@pytest.fixture(scope="session")
def web(tmp_path_factory):
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile the stand-ins with")
    program = tmp_path_factory.mktemp("standins") / "web"
    flags = ["-D_GNU_SOURCE", "-static", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *flags, "-o", program, STANDINS / "web.c"], check=True)
    return program


@pytest.fixture
def serve(web):
    running = []

    def start(role, **env):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = subprocess.Popen([web, role, "--port", str(port)], env={**os.environ, **env})
        running.append(server)
        for _ in range(500):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return server, port
        pytest.fail("the server does not listen")

    yield start
    for server in running:
        server.kill()
        server.wait()


def ask(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


DEATHSTAR = [
    ("POST", "/v1/request-landing", 200, "Ship landed\n"),
    ("PUT", "/v1/exhaust-port", 503, "Panic: deathstar exploded\n"),
    ("GET", "/v1/", 200, '"name": "Death Star"'),
    ("GET", "/v1", 200, '"name": "Death Star"'),
    ("GET", "/v1/healthz", 200, "ok\n"),
    ("GET", "/v1/request-landing", 404, "No such thing"),
    ("GET", "/", 404, "No such thing"),
]


@pytest.mark.parametrize(("method", "path", "status", "text"), DEATHSTAR)
def test_the_deathstar_answers(serve, method, path, status, text):
    _, port = serve("deathstar")
    answered = ask(port, method, path)
    assert answered[0] == status
    assert text in answered[1]


def test_whoami_tells_who_asked_what(serve):
    _, port = serve("whoami", WHOAMI_NAME="blue")
    status, text = ask(port, "GET", "/path?q=1", headers={"X-Test": "yes"})
    lines = text.splitlines()
    assert status == 200
    assert lines[0] == "Name: blue"
    assert f"Hostname: {socket.gethostname()}" in lines
    assert "IP: 127.0.0.1" in lines
    assert "GET /path?q=1 HTTP/1.1" in lines
    assert "X-Test: yes" in lines
    assert any(line.startswith("RemoteAddr: 127.0.0.1:") for line in lines)


def test_a_connection_is_kept_and_bodies_are_passed_over(serve):
    _, port = serve("deathstar")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    for size in (0, 10, 100_000):
        connection.request("POST", "/v1/request-landing", b"x" * size)
        assert connection.getresponse().read() == b"Ship landed\n"
    connection.close()


def test_a_client_that_says_nothing_holds_up_nobody(serve):
    _, port = serve("mock")
    with socket.create_connection(("127.0.0.1", port)):
        assert ask(port, "GET", "/")[0] == 200


@pytest.mark.parametrize(
    "garbage", [b"\0\r\n\r\n", b"GET\r\n\r\n", b"GET /\0 HTTP/1.1\r\n\r\n", b"GET / SMTP\r\n\r\n", b"x" * 20000]
)
def test_what_is_no_http_is_hung_up_on(serve, garbage):
    _, port = serve("deathstar")
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(garbage)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100) == b""
    assert ask(port, "GET", "/v1/healthz")[0] == 200


def test_it_ends_when_asked_to_although_a_client_stays_connected(serve):
    server, port = serve("whoami")
    with socket.create_connection(("127.0.0.1", port)):
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=5) == 0
