"""`serve` keeps the site and the worker together: they start as one and end as one, whatever is killed."""

import http.client
import json
import os
import signal
import socket
import time
from contextlib import closing, suppress

import psutil
import pytest

pytestmark = pytest.mark.slow


def until(condition, seconds=180):
    deadline = time.monotonic() + seconds  # only so that a broken test ends
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen")


def ready(port):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        try:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            return None
        return json.loads(body) if response.status == 200 else None


def children(process, words):
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # a zombie is one too
            found += [child] if words in " ".join(child.cmdline()) else []
    return found


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_site_and_worker_start_and_end_as_one(bare_world, port):
    serve = bare_world.start("serve", "--port", str(port))
    until(lambda: ready(port))
    said, output = ("with the password", f"http://127.0.0.1:{port}/"), bare_world.data / "serve.log"
    until(lambda: all(text in output.read_text() for text in said))  # which may be after the site answers

    # a killed worker is started again
    (worker,) = children(serve, "manage.py worker")
    worker.kill()
    until(lambda: [child for child in children(serve, "manage.py worker") if child.pid != worker.pid])
    until(lambda: ready(port))

    # a second one on the same port says so
    again = bare_world.tried("serve", "--port", str(port))
    assert again.returncode == 1 and "choose another one with --port" in again.stderr
    assert "password" not in again.stdout

    # SIGTERM ends both
    everyone = psutil.Process(serve.pid).children(recursive=True)
    serve.send_signal(signal.SIGTERM)
    assert serve.wait(timeout=60) == 0
    assert not psutil.wait_procs(everyone, timeout=30)[1]
    assert ready(port) is None


def test_nothing_stays_behind_when_serve_itself_is_killed(bare_world, port):
    serve = bare_world.start("serve", "--port", str(port))
    until(lambda: ready(port))
    everyone = psutil.Process(serve.pid).children(recursive=True)
    os.kill(serve.pid, signal.SIGKILL)
    serve.wait()
    assert not psutil.wait_procs(everyone, timeout=60)[1]
