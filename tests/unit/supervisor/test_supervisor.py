"""The supervisor with real processes: what it starts answers, and nothing is left when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stepworks.errors import NotFoundError, ParameterError, ResourceError, ServingError
from stepworks.supervisor import ENVIRONMENT_VARIABLE, guard
from stepworks.supervisor.client import SupervisorClient, local_path
from stepworks.supervisor.supervisor import Supervisor
from tests.processes import alive
from tests.waiting import wait_for

SERVER = """
import http.server, os, subprocess, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ.get("GREETING", "").encode())
    def log_message(self, *arguments): pass
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVER


def start(manager: Supervisor | SupervisorClient, name: str = "greeter", code: str = SERVER) -> list[int]:
    """Start the little server and give the process ids of it and of its child."""
    port = manager.free_port()
    process = manager.start(
        name,
        [sys.executable, "-S", "-c", code, str(port)],
        ready_url=f"http://127.0.0.1:{port}/",
        timeout_seconds=20,
        environment={"GREETING": "hello"},
    )
    child = int(process.log.read_text().split()[-1])
    assert alive(process.pid)
    assert alive(child)
    return [process.pid, child]


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    with Supervisor(tmp_path / "logs", {"/mnt/registry": tmp_path / "registry"}) as supervisor:
        yield supervisor


@pytest.fixture
def client(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> SupervisorClient:
    for name, value in supervisor.environment().items():
        monkeypatch.setenv(name, value)
    client = SupervisorClient.from_environment()
    assert client is not None
    return client


def test_a_process_and_its_child_end_with_the_supervisor(tmp_path: Path) -> None:
    pids: list[int] = []

    def run() -> None:
        with Supervisor(tmp_path) as supervisor:
            pids.extend(start(supervisor))
            raise KeyError

    with pytest.raises(KeyError):
        run()
    assert not any(alive(pid) for pid in pids)


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepworks.supervisor.supervisor.GRACE_SECONDS", 0.2)
    with Supervisor(tmp_path) as supervisor:
        pids = start(supervisor, code=STUBBORN)
        supervisor.stop("greeter")
        wait_for("all have ended", lambda: not any(alive(pid) for pid in pids))
        assert supervisor.processes() == {}


def test_a_released_process_stays(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        pids = start(supervisor)
        supervisor.release("greeter")
    try:
        assert all(alive(pid) for pid in pids)
    finally:
        os.killpg(pids[0], signal.SIGKILL)
        os.waitpid(pids[0], 0)


def test_processes_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    program = f"""
import sys, time
sys.path[:0] = {sys.path!r}
from pathlib import Path
from stepworks.supervisor.supervisor import Supervisor
with Supervisor(Path({str(tmp_path)!r})) as supervisor:
    port = supervisor.free_port()
    process = supervisor.start(
        "greeter", [sys.executable, "-S", "-c", {SERVER!r}, str(port)], ready_url=f"http://127.0.0.1:{{port}}/"
    )
    print(process.pid, flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        pids = [int(run.stdout.readline()), int((tmp_path / "greeter.log").read_text().split()[-1])]
        assert all(alive(pid) for pid in pids)
        run.kill()
    wait_for("all have ended", lambda: not any(alive(pid) for pid in pids))


def test_a_group_of_somebody_else_is_guarded_within_a_block(tmp_path: Path) -> None:
    program = f"""
import subprocess, sys, time
sys.path[:0] = {sys.path!r}
from pathlib import Path
from stepworks.supervisor.supervisor import Supervisor
sleepers = [
    subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
    for _ in range(2)
]
with Supervisor(Path({str(tmp_path)!r})) as supervisor:
    with supervisor.guarding(sleepers[0].pid):
        pass
    with supervisor.guarding(sleepers[1].pid):
        print(*(sleeper.pid for sleeper in sleepers), flush=True)
        time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        outside, inside = map(int, run.stdout.readline().split())
        run.kill()
    wait_for("it has ended", lambda: not alive(inside))
    assert alive(outside)
    os.kill(outside, signal.SIGKILL)


def test_the_guard_ends_only_what_is_under_guard() -> None:
    sleeper = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    with (
        subprocess.Popen(sleeper, start_new_session=True) as kept,
        subprocess.Popen(sleeper, start_new_session=True) as gone,
        subprocess.Popen(
            [sys.executable, "-S", "-c", stubborn], start_new_session=True, stdout=subprocess.PIPE
        ) as killed,
    ):
        assert killed.stdout is not None
        killed.stdout.readline()
        guard.watch([f"+{kept.pid}", f"+{gone.pid}", f"+{killed.pid}", f"-{kept.pid}"], grace_seconds=0.2)
        assert gone.wait() == -signal.SIGTERM
        assert killed.wait() == -signal.SIGKILL
        assert kept.poll() is None
        kept.kill()


def test_a_process_that_ends_before_it_is_ready_says_why(supervisor: Supervisor) -> None:
    with pytest.raises(ServingError, match=r"(?s)exit code 3.*no such colour") as caught:
        supervisor.start(
            "painter",
            [sys.executable, "-S", "-c", "print('no such colour'); raise SystemExit(3)"],
            ready_url=f"http://127.0.0.1:{supervisor.free_port()}/",
        )
    assert "painter.log" in caught.value.what_to_do
    assert supervisor.processes() == {}


def test_a_process_that_is_never_ready_is_ended(supervisor: Supervisor) -> None:
    others = set(psutil.Process().children())  # such as torch's and the fork server of other tests
    with pytest.raises(ServingError, match=r"(?s)not ready within 0.3 seconds.*\(nothing\)"):
        supervisor.start(
            "sleeper",
            [sys.executable, "-S", "-c", "import time; time.sleep(600)"],
            ready_url=f"http://127.0.0.1:{supervisor.free_port()}/",
            timeout_seconds=0.3,
        )
    assert supervisor.processes() == {}
    assert len(set(psutil.Process().children()) - others) == 1, "only the guard is left"


def test_a_process_that_dies_later_is_seen_dead_and_may_be_started_again(supervisor: Supervisor) -> None:
    pids = start(supervisor)
    os.kill(pids[0], signal.SIGKILL)
    wait_for("its end is seen", lambda: supervisor.processes()["greeter"].exit_code == -signal.SIGKILL)
    wait_for("its child has ended", lambda: not alive(pids[1]))
    start(supervisor)
    assert supervisor.processes()["greeter"].running


def test_a_running_name_is_refused(supervisor: Supervisor) -> None:
    start(supervisor)
    with pytest.raises(ServingError, match="runs already"):
        start(supervisor)


@pytest.mark.parametrize("name", ["", "Upper", "../escape", "a" * 101])
def test_a_name_that_is_no_file_name_is_refused(supervisor: Supervisor, name: str) -> None:
    with pytest.raises(ParameterError, match="cannot have this name"):
        start(supervisor, name)


def test_a_missing_program_is_named(supervisor: Supervisor) -> None:
    with pytest.raises(ResourceError, match=r"FileNotFoundError.*no-such-program"):
        supervisor.start("nothing", ["no-such-program"], ready_url="http://127.0.0.1:1/")


def test_nothing_starts_after_the_end(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        pass
    supervisor.close()
    with pytest.raises(ServingError, match="cannot be started any more"):
        supervisor.start("late", ["true"], ready_url="http://127.0.0.1:1/")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="Cannot make the folder"):
        Supervisor(tmp_path / "file" / "logs")


def test_ports_are_given_once(supervisor: Supervisor) -> None:
    ports = [supervisor.free_port() for _ in range(50)]
    assert len(set(ports)) == len(ports)


def test_a_step_starts_sees_and_stops_a_process(supervisor: Supervisor, client: SupervisorClient) -> None:
    pids = start(client)
    assert client.processes() == supervisor.processes()
    assert client.processes()["greeter"].command[0] == sys.executable
    client.stop("greeter")
    assert client.processes() == {}
    assert not any(alive(pid) for pid in pids)


def test_an_error_reaches_the_step_as_it_was_raised(client: SupervisorClient) -> None:
    with pytest.raises(NotFoundError, match="no process named ghost") as caught:
        client.stop("ghost")
    assert caught.value.expected == "one of: none"
    with pytest.raises(NotFoundError, match="does not know this request"):
        client._ask("dance")


def test_a_wrong_token_is_refused(supervisor: Supervisor) -> None:
    address = supervisor.environment()[ENVIRONMENT_VARIABLE]
    stranger = SupervisorClient(address.rsplit("/", 1)[0] + "/guessed")
    with pytest.raises(Exception, match="not the token"):
        stranger.processes()


def test_a_claims_mount_path_becomes_its_folder(client: SupervisorClient, tmp_path: Path) -> None:
    assert local_path("/mnt/registry/flights/1") == tmp_path / "registry" / "flights" / "1"
    assert local_path("/mnt/registry") == tmp_path / "registry"
    assert local_path("/mnt/registry-of-others/x") == Path("/mnt/registry-of-others/x")
    assert (tmp_path / "registry").is_dir()


def test_without_a_supervisor_paths_stay_and_there_is_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    assert SupervisorClient.from_environment() is None
    assert local_path("/mnt/registry") == Path("/mnt/registry")


def test_a_dead_supervisor_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Supervisor(tmp_path) as supervisor:
        monkeypatch.setenv(ENVIRONMENT_VARIABLE, supervisor.environment()[ENVIRONMENT_VARIABLE])
    with pytest.raises(ResourceError, match=r"(?s)does not answer.*unset STEPWORKS_SUPERVISOR"):
        local_path("/mnt/registry")
