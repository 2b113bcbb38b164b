import io
import json
import logging
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stepworks.training.display import Display
from stepworks.training.trainer_status import TrainerStatus


def step(number: int) -> dict[str, Any]:
    return {
        "step": number,
        "of": 200,
        "epoch": 2,
        "loss": 0.25,
        "samples_per_second": 80.0,
        "data_wait_share": 0.015,
        "mfu": None,
    }


def test_a_terminal_gets_a_bar() -> None:
    output = io.StringIO()
    with Display(Console(file=output, force_terminal=True, width=120)) as display:
        display("step", step(50))
        display("epoch", {})
        display("step", step(100))
    assert "100/200" in output.getvalue()
    assert "loss 0.25  80 samples/s" in output.getvalue()


def test_a_log_gets_a_line_every_half_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now = [0.0]
    with Display(Console(file=io.StringIO()), clock=lambda: now[0]) as display:
        for number in range(1, 101):
            now[0] += 1
            display("step", step(number))
    assert [record.getMessage().partition("  ")[0] for record in caplog.records] == [
        "step 30 of 200",
        "step 60 of 200",
        "step 90 of 200",
    ]
    assert "loss 0.2500  80 samples/s  waited for data 1.5 %" in caplog.text


@pytest.fixture
def controller() -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """A server that takes statuses: its address, and what it got."""
    got: list[tuple[str, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            got.append((self.headers["Authorization"], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/status", got
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_status_of_a_train_job_gets_the_newest_step(
    tmp_path: Path, controller: tuple[str, list[tuple[str, dict[str, Any]]]]
) -> None:
    url, got = controller
    (tmp_path / "token").write_text("secret\n")
    environment = {"KUBEFLOW_TRAINER_SERVER_URL": url, "KUBEFLOW_TRAINER_SERVER_TOKEN": str(tmp_path / "token")}
    with TrainerStatus(environment) as status:
        for number in (1, 2, 200):
            status("step", step(number))
    authorization, body = got[-1]
    assert authorization == "Bearer secret"
    sent = body["trainerStatus"]
    assert sent["progressPercentage"] == 99
    assert sent["estimatedRemainingSeconds"] == 0
    assert {"name": "loss", "value": "0.25"} in sent["metrics"]
    assert "mfu" not in {each["name"] for each in sent["metrics"]}
    assert len(got) <= 2  # not one each


def test_an_answer_that_is_no_http_does_not_end_the_updates(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/status"
        environment = {"KUBEFLOW_TRAINER_SERVER_URL": url, "KUBEFLOW_TRAINER_SERVER_TOKEN": str(tmp_path / "token")}
        with TrainerStatus(environment, seconds_between=0.01) as status:
            for number in (1, 2):
                status("step", step(number))
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"NONSENSE\r\n\r\n")


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:9/status", "no address"])
def test_a_status_that_nobody_takes_does_not_matter(tmp_path: Path, url: str) -> None:
    (tmp_path / "token").write_text("secret")
    environment = {"KUBEFLOW_TRAINER_SERVER_URL": url, "KUBEFLOW_TRAINER_SERVER_TOKEN": str(tmp_path / "token")}
    with TrainerStatus(environment) as status:
        status("step", step(1))
