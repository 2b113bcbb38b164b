"""The container behind an endpoint: it fetches its package from Cloud Storage, and serves it as Vertex asks for it."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stepworks.errors import ConfigurationError, NotFoundError
from stepworks.kubeflow.vertex.deploy import container_spec
from stepworks.kubeflow.vertex.serve import fetch, model_uri, server_command
from stepworks.serving.package import build_package
from tests.unit.serving.conftest import write_model, write_raw_table

BUCKET = "vertex-models"


class _Storage(BaseHTTPRequestHandler):
    """The two calls of Cloud Storage's JSON API that fetching a folder makes."""

    objects: dict[str, bytes]

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        asked = urllib.parse.parse_qs(query)
        if path == f"/storage/v1/b/{BUCKET}/o":
            names = [name for name in self.objects if name.startswith(asked.get("prefix", [""])[0])]
            self._answer(
                json.dumps({"kind": "storage#objects", "items": [_described(name) for name in names]}).encode()
            )
        elif path == f"/storage/v1/b/{BUCKET}":  # the client asks for the bucket itself, too, and goes on without
            self.send_error(404)
        else:
            self._answer(self.objects[urllib.parse.unquote(path.rpartition("/o/")[2])])

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Keep the test's output quiet."""


def _described(name: str) -> dict[str, str]:
    return {"kind": "storage#object", "bucket": BUCKET, "name": name, "id": f"{BUCKET}/{name}/1", "generation": "1"}


@contextmanager
def storage_with(objects: dict[str, bytes]) -> Iterator[str]:
    """A Cloud Storage that holds these objects; its address."""
    handler = type("Storage", (_Storage,), {"objects": objects})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_folder_is_fetched_with_its_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = {
        "m/7/": b"",
        "m/7/manifest.json": b"{}",
        "m/7/graph/model.onnx": b"graph",
        "m/7/graph/": b"",
        "m/77/other": b"",
    }
    with storage_with(objects) as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        fetch(f"gs://{BUCKET}/m/7", tmp_path)
    found = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"manifest.json": b"{}", "graph/model.onnx": b"graph"}


def test_a_whole_bucket_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with storage_with({"manifest.json": b"{}"}) as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        fetch(f"gs://{BUCKET}/", tmp_path)
    assert (tmp_path / "manifest.json").read_bytes() == b"{}"


@pytest.mark.parametrize(
    ("objects", "error", "message"),
    [
        ({"m/77/other": b""}, NotFoundError, "There is no package at gs://"),
        ({"m/7/": b""}, NotFoundError, "There is no package at gs://"),
        ({"m/7/../../escaped": b""}, ConfigurationError, "leads out of its folder"),
    ],
)
def test_what_is_no_package_is_refused(
    objects: dict[str, bytes], error: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with storage_with(objects) as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        with pytest.raises(error, match=message):
            fetch(f"gs://{BUCKET}/m/7", tmp_path / "package")
    assert not (tmp_path / "package").exists()


@pytest.mark.parametrize("environment", [{}, {"AIP_STORAGE_URI": ""}, {"AIP_STORAGE_URI": "s3://bucket/m"}])
def test_a_container_that_is_not_told_its_model_says_so(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="The package to serve is not named"):
        model_uri(environment)


def test_the_server_listens_where_vertex_says_on_every_interface() -> None:
    command = server_command(Path("package"), {"AIP_HTTP_PORT": "9000"})
    assert command[-4:] == ["--host", "0.0.0.0", "--port", "9000"]
    assert server_command(Path("package"), {})[-1] == "8080"
    with pytest.raises(ConfigurationError, match="AIP_HTTP_PORT is no port"):
        server_command(Path("package"), {"AIP_HTTP_PORT": "65536"})


def test_the_container_ends_with_the_reason() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIP_")}
    command = [sys.executable, "-m", "stepworks.kubeflow.vertex.serve"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "no AIP_STORAGE_URI" in ended.stderr


def test_what_vertex_starts_answers_by_the_routes_that_vertex_is_told(tmp_path: Path) -> None:
    package = tmp_path / "package"
    build_package(write_model(tmp_path / "model", seed=1), write_raw_table(tmp_path / "raw.parquet"), package)
    objects = {f"m/1/{path.relative_to(package)}": path.read_bytes() for path in package.rglob("*") if path.is_file()}
    spec, port = container_spec("example/serving:1"), _free_port()
    row = {
        "distance": ("FP32", 872),
        "wind_speed": ("FP32", 10.5),
        "carrier": ("BYTES", "AA"),
        "origin": ("BYTES", "JFK"),
    }
    with storage_with(objects) as address:
        environment = {
            "STORAGE_EMULATOR_HOST": address, "AIP_STORAGE_URI": f"gs://{BUCKET}/m/1", "AIP_HTTP_PORT": str(port)
        }  # fmt: skip
        command = [sys.executable, *spec["command"][1:]]
        with subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL) as server:
            try:
                url = f"http://127.0.0.1:{port}"
                assert _wait_for(f"{url}{spec['healthRoute']}", server) == 200
                inputs = [
                    {"name": name, "shape": [1], "datatype": kind, "data": [value]}
                    for name, (kind, value) in row.items()
                ]
                answer = _post(f"{url}{spec['predictRoute']}", {"inputs": inputs})
            finally:
                server.terminate()
    (probability,) = answer["outputs"][0]["data"]
    assert 0 < probability < 1
    assert server.returncode in {0, -15}  # it got the signal itself: no process is between


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> int:
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30) as response:
                return int(response.status)
        except (urllib.error.URLError, ConnectionError):
            assert server.poll() is None, "the server has ended"
            time.sleep(0.1)


def _post(url: str, content: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(content).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)
