"""The real model server and the real split: they answer, they refuse, and nothing of them is left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from stepworks.errors import ResourceError, ServingError, UserError
from stepworks.serving import server, split
from stepworks.serving.answers import largest_difference
from stepworks.serving.client import V2Client, ask, only_model
from stepworks.serving.launch import ServerPlan, start_servers, start_split
from stepworks.serving.manifest import Samples, read_package, write_manifest
from stepworks.serving.rollout.local import LocalArm, LocalBackend
from stepworks.serving.rollout.policy import LAPTOP
from stepworks.serving.rollout.probes import HttpProber, read_probes
from stepworks.serving.rollout.rollout import roll_out
from stepworks.serving.split_admin import SplitSettings, change_split, read_split
from stepworks.supervisor.supervisor import Supervisor

ROW = {"distance": 500.0, "wind_speed": None, "carrier": "AA", "origin": None}


@pytest.fixture(scope="module")
def supervisor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    with Supervisor(tmp_path_factory.mktemp("logs")) as supervisor:
        yield supervisor


@pytest.fixture(scope="module")
def urls(supervisor: Supervisor, package: Path) -> dict[str, str]:
    """A model server and a split, shared by the tests of this file: a server takes seconds to start."""
    servers = start_servers(supervisor, [ServerPlan("server", package, "flights")])
    return {**servers, "split": start_split(supervisor, "split")}


def test_the_server_answers_as_the_trained_model(urls: dict[str, str], package: Path) -> None:
    samples = Samples.read(package)
    answers = ask(urls["server"], "flights", samples.rows)
    np.testing.assert_allclose(answers, samples.probabilities, atol=1e-6)


def test_the_only_model_of_a_server_needs_no_name(urls: dict[str, str]) -> None:
    assert only_model(urls["server"]) == "flights"


def test_an_address_that_is_no_url_is_refused() -> None:
    with pytest.raises(UserError, match="http://"):
        only_model("localhost:8080")


def test_a_feature_left_out_by_the_caller_is_missing(urls: dict[str, str]) -> None:
    assert ask(urls["server"], "flights", [{"distance": 500.0, "carrier": "AA"}]) == ask(
        urls["server"], "flights", [ROW]
    )


def test_the_server_tells_its_signature(urls: dict[str, str]) -> None:
    with V2Client(urls["server"], "flights") as client:
        assert client.signature() == {
            "distance": "FP32",
            "wind_speed": "FP32",
            "carrier": "BYTES",
            "origin": "BYTES",
        }
    with pytest.raises(ServingError, match=r"(?s)refuses GET.*status 404"):
        ask(urls["server"], "other", [ROW])


def tensor(name: str, datatype: str, data: list[object]) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": [len(data), 1], "data": data}


GOOD = [
    tensor("distance", "INT64", [500]),
    tensor("wind_speed", "FP32", [None]),
    tensor("carrier", "BYTES", ["AA"]),
    tensor("origin", "BYTES", [None]),
]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (GOOD[:3], r"Missing: \['origin'\]"),
        ([*GOOD, tensor("weather", "FP32", [1.0])], r"Unknown: \['weather'\]"),
        ([tensor("distance", "BYTES", ["far"]), *GOOD[1:]], "distance: expected FP32"),
        ([tensor("distance", "FP32", ["far"]), *GOOD[1:]], "could not convert string to float"),
        ([tensor("distance", "FP32", [1.0, 2.0]), *GOOD[1:]], "same number of rows"),
    ],
)
def test_a_request_that_does_not_fit_is_refused(urls: dict[str, str], inputs: list[object], message: str) -> None:
    address = f"{urls['server']}/v2/models/flights/infer"
    assert httpx.post(address, json={"inputs": GOOD}).json()["outputs"][0]["shape"] == [1, 1]
    answer = httpx.post(address, json={"inputs": inputs})
    assert answer.status_code == 400
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(answer.json()["error"])


def test_a_running_server_is_adopted(urls: dict[str, str], supervisor: Supervisor, package: Path) -> None:
    before = supervisor.processes()["server"].pid
    assert start_servers(supervisor, [ServerPlan("server", package, "flights")])["server"] == urls["server"]
    assert start_split(supervisor, "split") == urls["split"]
    assert supervisor.processes()["server"].pid == before


def test_a_server_of_another_package_is_replaced(supervisor: Supervisor, tmp_path: Path) -> None:
    start_mortal(supervisor, "flights.v7")
    with pytest.raises(ServingError, match=r"(?s)exit code 2.*is not a model package"):
        start_servers(supervisor, [ServerPlan("flights.v7", tmp_path, "flights")])
    assert "flights.v7" not in supervisor.processes()


def test_a_server_that_answers_otherwise_than_recorded_serves_nobody(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[str] = []
    monkeypatch.setattr(server, "_serve", lambda name, *_: served.append(name))  # it would go on until a signal
    changed = shutil.copytree(package, tmp_path / "package")
    samples, manifest = Samples.read(changed), read_package(changed)
    answers = [samples.answers[0] + 1e-3, *samples.answers[1:]]
    (changed / "samples.json").write_text(samples.model_copy(update={"answers": answers}).model_dump_json())
    write_manifest(changed, manifest.inputs)
    options = ["--model-name=flights", "--port=0", "--check-answers", "--model-directory"]
    assert server.main([*options, str(package)]) == 0
    assert served == ["flights"]
    assert server.main([*options, str(changed)]) == 1
    assert served == ["flights"]
    error = capsys.readouterr().err
    assert "does not answer as the trained model does" in error
    assert f"1 of {len(answers)} rows differ more" in error


def test_the_split_keeps_the_share_and_counts(urls: dict[str, str], package: Path) -> None:
    settings = SplitSettings(stable=urls["server"], candidate=urls["server"], percent=10)
    change_split(urls["split"], settings)
    with HttpProber(urls["split"], "flights", read_probes(package, package)) as prober:
        results = [prober.send() for _ in range(100)]
    state = read_split(urls["split"])
    assert not any(result.wrong for result in results)
    assert [result.arm for result in results].count("candidate") == state.arms["candidate"].requests
    assert 9 <= state.arms["candidate"].requests <= 11
    assert state.arms["stable"].requests + state.arms["candidate"].requests == 100
    assert (state.arms["stable"].errors, state.arms["candidate"].errors) == (0, 0)
    latency = state.arms["stable"].latency
    assert latency.total == state.arms["stable"].requests
    assert 0 < latency.quantile(0.5) <= latency.quantile(0.95) < 30_000
    assert change_split(urls["split"], settings).arms["stable"].requests == 0, "a change starts new counts"


def test_a_wrong_answer_belongs_to_the_arm_that_gave_it(
    urls: dict[str, str], package: Path, champion_package: Path
) -> None:
    change_split(urls["split"], SplitSettings(stable=urls["server"], candidate=urls["server"], percent=50))
    # The stable arm is expected to answer as another model does.
    probes = read_probes(package, champion_package)
    with HttpProber(urls["split"], "flights", probes) as prober:
        results = [prober.send() for _ in range(20)]
    assert all(result.wrong == (result.arm == "stable") for result in results)
    with (
        HttpProber(urls["server"], "flights", probes) as prober,
        pytest.raises(ServingError, match="does not tell which version"),
    ):
        prober.send()


def test_a_refused_row_is_a_wrong_answer(urls: dict[str, str], package: Path) -> None:
    change_split(urls["split"], SplitSettings(stable=urls["server"]))
    probe = replace(read_probes(package, package)[0], row={**ROW, "distance": "far"})
    with HttpProber(urls["split"], "flights", [probe]) as prober:
        result = prober.send()
    assert (result.arm, result.wrong, result.failed) == ("stable", True, False)
    assert result.milliseconds > 0
    assert read_split(urls["split"]).arms["stable"].errors == 0


def start_mortal(supervisor: Supervisor, name: str) -> LocalArm:
    """A process that is ready and knows no model; it stands for a version that is ended, or dies."""
    port = supervisor.free_port()
    url = f"http://127.0.0.1:{port}"
    supervisor.start(name, [sys.executable, "-m", "http.server", str(port)], ready_url=url)
    return LocalArm("2", name, url, Path("no package"))


def test_a_candidate_that_dies_is_rolled_back(urls: dict[str, str], supervisor: Supervisor, package: Path) -> None:
    candidate = start_mortal(supervisor, "candidate")
    os.kill(supervisor.processes()["candidate"].pid, signal.SIGKILL)
    stable = LocalArm("1", "server", urls["server"], package)
    backend = LocalBackend(supervisor, "flights", urls["split"], stable, candidate)
    with HttpProber(urls["split"], "flights", read_probes(package, package)) as prober:
        document = roll_out(backend, LAPTOP, prober)
    assert (document.outcome, document.stages[0].percent) == ("rolled_back", 10)
    assert document.stages[0].candidate.errors == document.stages[0].candidate.requests
    assert document.stages[0].stable is not None
    assert document.stages[0].stable.errors == document.stages[0].stable.wrong_answers == 0
    assert read_split(urls["split"]).settings == SplitSettings(stable=urls["server"])
    assert sorted(supervisor.processes()) == ["server", "split"]


def test_promoting_leaves_the_old_server_up(urls: dict[str, str], supervisor: Supervisor, package: Path) -> None:
    old = start_mortal(supervisor, "old")
    backend = LocalBackend(supervisor, "flights", urls["split"], old, LocalArm("2", "server", urls["server"], package))
    backend.promote()
    assert read_split(urls["split"]).settings == SplitSettings(stable=urls["server"])
    assert supervisor.processes()["old"].running, "until the registry names the new one, all can be rolled back"
    supervisor.stop("old")


def test_a_dead_arm_is_an_error_of_that_arm(urls: dict[str, str], supervisor: Supervisor, package: Path) -> None:
    dead = f"http://127.0.0.1:{supervisor.free_port()}"
    change_split(urls["split"], SplitSettings(stable=urls["server"], candidate=dead, percent=50))
    with HttpProber(urls["split"], "flights", read_probes(package, None)) as prober:
        results = [prober.send() for _ in range(20)]
    state = read_split(urls["split"])
    assert state.arms["candidate"].errors == state.arms["candidate"].requests >= 9
    assert state.arms["stable"].errors == 0
    assert all(result.failed and not result.wrong for result in results if result.arm == "candidate")


def counters(url: str) -> dict[tuple[str, ...], float]:
    """What the split tells Prometheus, as Prometheus' own parser reads it."""
    answer = httpx.get(f"{url}/metrics").raise_for_status()
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, sample.labels["arm"], sample.labels.get("le", "")): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_prometheus_reads_counts_of_each_arm_that_only_grow(
    urls: dict[str, str], supervisor: Supervisor, package: Path
) -> None:
    dead = f"http://127.0.0.1:{supervisor.free_port()}"
    before = counters(urls["split"])
    for percent in (50, 25):  # new settings start no new counts here
        change_split(urls["split"], SplitSettings(stable=urls["server"], candidate=dead, percent=percent))
        with HttpProber(urls["split"], "flights", read_probes(package, package)) as prober:
            for _ in range(20):
                prober.send()
    after = counters(urls["split"])
    grown = {name: after[name] - before[name] for name in after}
    requests = [grown["stepworks_split_requests_total", arm, ""] for arm in ("stable", "candidate")]
    assert sum(requests) == 40
    assert 14 <= requests[1] <= 16
    assert grown["stepworks_split_errors_total", "candidate", ""] == requests[1]
    assert grown["stepworks_split_errors_total", "stable", ""] == 0
    for arm, total in zip(("stable", "candidate"), requests, strict=True):
        assert grown["stepworks_split_latency_seconds_bucket", arm, "+Inf"] == total
        assert grown["stepworks_split_latency_seconds_count", arm, ""] == total
        assert grown["stepworks_split_latency_seconds_sum", arm, ""] > 0
        buckets = [value for (name, of, _), value in after.items() if name.endswith("_bucket") and of == arm]
        assert buckets == sorted(buckets), "Prometheus counts up to each bound"


def test_without_arms_the_split_says_so(urls: dict[str, str]) -> None:
    change_split(urls["split"], SplitSettings())
    answer = httpx.post(f"{urls['split']}/v2/models/flights/infer", json={})
    assert (answer.status_code, answer.headers["x-stepworks-arm"]) == (503, "stable")
    change_split(urls["split"], SplitSettings(candidate=urls["server"], percent=100))
    assert ask(urls["split"], "flights", [ROW]) == ask(urls["server"], "flights", [ROW])


def test_the_split_refuses_nonsense_and_keeps_its_settings(urls: dict[str, str]) -> None:
    before = read_split(urls["split"]).settings
    assert httpx.put(f"{urls['split']}/-/split", json={"percent": 101}).status_code == 400
    assert read_split(urls["split"]).settings == before


def test_who_does_not_answer_is_named(supervisor: Supervisor) -> None:
    address = f"http://127.0.0.1:{supervisor.free_port()}"
    with pytest.raises(ServingError, match=f"The traffic split at {address} does not answer"):
        read_split(address)
    with pytest.raises(ServingError, match=f"The server at {address} does not answer"):
        ask(address, "flights", [ROW])


def test_a_port_in_use_ends_the_server_and_the_split(
    urls: dict[str, str], package: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    port = urls["server"].rsplit(":", 1)[1]
    command = ["--model-directory", str(package), "--model-name", "flights", "--port", port]
    assert server.main(command) == 1
    assert f"port {port} (lsof -i :{port}), or choose another --port" in capfd.readouterr().err
    assert split.main(["--port", port]) == 1
    assert "Address already in use" in capfd.readouterr().err


def test_what_is_no_package_is_not_served(package: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ["--model-name", "flights", "--port", "0", "--model-directory"]
    assert server.main([*options, str(tmp_path)]) == 2
    assert "is not a model package" in capfd.readouterr().err
    copy = Path(shutil.copytree(package, tmp_path / "copy"))
    (copy / "samples.json").write_text("{}")
    assert server.main([*options, str(copy)]) == 1
    assert "missing or changed: samples.json" in capfd.readouterr().err


def test_importing_the_command_is_light() -> None:
    program = (
        "import sys, stepworks.serving.server; print([m for m in ('kserve', 'torch', 'polars') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_check_names_the_worst_row() -> None:
    samples = Samples(rows=[{"x": 1.0}, {"x": 2.0}, {"x": 3.0}], probabilities=[0.1, 0.2, 0.3])
    good = [0.1, 0.2 + 1e-7, 0.3]
    assert largest_difference(samples, good, [0.1, 0.2, 0.3], 1e-5) == pytest.approx(1e-7)
    for bad in ([0.1, 0.2, 0.4], [0.1, 0.21, float("nan")]):
        with pytest.raises(ServingError, match=r"(?s)not answer as the trained model.*'x': 3.0.*of 3 rows differ more"):
            largest_difference(samples, good, bad, 1e-5)
        with pytest.raises(ServingError, match=r"'x': 3.0"):
            largest_difference(samples, bad, good, 1e-5)


def test_a_port_that_does_not_exist_is_named() -> None:
    with pytest.raises(ResourceError, match=r"Cannot listen on 127\.0\.0\.1, port 70000"):
        server.listen("127.0.0.1", 70000)
