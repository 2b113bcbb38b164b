"""What the step run_job refuses before it makes anything, and what it makes of the files that a Job wrote."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from stepworks.errors import ConfigurationError, DataError, ResourceError
from stepworks.kube.api.cluster import connect
from stepworks.kube.builders.job import build_job, job_spec
from stepworks.kube.runs.belonging import belonging_to
from stepworks.operations.in_cluster import connect_from_step, resolve_placement
from stepworks.operations.run_job import fill_in, hand_back, refuse_unshared, run_job
from stepworks.placement.pod_placement import PodPlacement
from stepworks.placement.storage import AccessMode, Mount
from stepworks.supervisor import ENVIRONMENT_VARIABLE
from tests.unit.kube.api_server import ApiServer

TARGETS = Path(__file__).parents[3] / "targets"


def mount(claim: str, path: str, access_mode: AccessMode = "ReadWriteMany", **changes: Any) -> Mount:
    return Mount.model_validate({"claim": claim, "mount_path": path, "access_mode": access_mode, **changes})


@pytest.mark.parametrize(
    "mounts", [[mount("a", "/mnt/a")], [mount("b", "/mnt", "ReadWriteOnce"), mount("a", "/mnt/a")]]
)
def test_a_folder_in_a_claim_for_many_nodes_is_taken(mounts: list[Mount]) -> None:
    refuse_unshared("/mnt/a/run/out", mounts)


@pytest.mark.parametrize(
    ("mounts", "told"),
    [
        ([], "a Job that mounts no claim"),
        ([mount("b", "/mnt/ab")], "a Job that mounts /mnt/ab"),
        ([mount("a", "/mnt/a", "ReadOnlyMany", read_only=True)], "read only"),
        ([mount("a", "/mnt/a", "ReadWriteOnce")], "The claim a is ReadWriteOnce"),
        ([mount("a", "/mnt/a", "ReadWriteOncePod")], "The claim a is ReadWriteOncePod"),
        ([mount("b", "/mnt"), mount("a", "/mnt/a", "ReadWriteOnce")], "The claim a is ReadWriteOnce"),
    ],
)
def test_a_folder_that_both_cannot_have_is_refused(mounts: list[Mount], told: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        refuse_unshared("/mnt/a/run/out", mounts)
    assert told in str(raised.value)


def test_the_id_of_the_run_is_put_where_kubeflow_left_it() -> None:
    assert fill_in("/mnt/a/{{$.pipeline_job_uuid}}/out", "r-1") == "/mnt/a/r-1/out"
    assert fill_in("{{$x := 1}} {{.Values.a}} $(A)", "r-1") == "{{$x := 1}} {{.Values.a}} $(A)"


@pytest.mark.parametrize(
    "left", ["{{$.inputs.parameters['pipelinechannel--size']}}", "{{$.workspace_path}}", "{{$.pipeline_task_uuid}}"]
)
def test_another_placeholder_that_kubeflow_left_is_refused(left: str) -> None:
    with pytest.raises(ConfigurationError, match="has left a placeholder") as raised:
        fill_in(f"--size={left}", "r-1")
    assert raised.value.received == f"{left} in {f'--size={left}'!r}"


def test_what_a_job_wrote_is_handed_back_and_its_result_is_metadata(tmp_path: Path) -> None:
    wrote, output = tmp_path / "wrote", tmp_path / "output"
    (wrote / "parts").mkdir(parents=True)
    (wrote / "parts" / "0.csv").write_text("a,b\n")
    (wrote / "result.json").write_text('{"rows": 3, "columns": ["a", "b"]}')
    output.mkdir()
    assert hand_back(wrote, output) == {"rows": 3, "columns": ["a", "b"]}
    assert (output / "parts" / "0.csv").read_text() == "a,b\n"
    assert json.loads((output / "result.json").read_text())["rows"] == 3


def test_without_a_result_there_is_no_metadata(tmp_path: Path) -> None:
    (tmp_path / "wrote").mkdir()
    (tmp_path / "wrote" / "rows").touch()
    assert hand_back(tmp_path / "wrote", tmp_path / "output") == {}


def test_a_job_that_wrote_nothing_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "wrote" / "empty").mkdir(parents=True)
    with pytest.raises(DataError, match="wrote nothing") as raised:
        hand_back(tmp_path / "wrote", tmp_path / "output")
    assert "$(STEPWORKS_OUTPUT)" in raised.value.what_to_do


@pytest.mark.parametrize(
    ("content", "told"),
    [("[1]", "a JSON list"), ("{", "JSONDecodeError"), ("\udc80", "UnicodeDecodeError"), ("1" * 70_000, "70000 bytes")],
)
def test_a_wrong_result_is_a_failure_before_anything_is_copied(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "wrote").mkdir()
    (tmp_path / "wrote" / "result.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=r"result\.json is not a small JSON object") as raised:
        hand_back(tmp_path / "wrote", tmp_path / "output")
    assert told in raised.value.received
    assert not (tmp_path / "output").exists()


def test_what_cannot_be_copied_is_told(tmp_path: Path) -> None:
    (tmp_path / "wrote").mkdir()
    (tmp_path / "wrote" / "rows").touch()
    (tmp_path / "wrote" / "elsewhere").symlink_to("/only/in/the/job")
    with pytest.raises(ResourceError, match="cannot be copied") as raised:
        hand_back(tmp_path / "wrote", tmp_path / "output")
    assert "/only/in/the/job" in raised.value.received or "elsewhere" in raised.value.received


@pytest.fixture
def _on_a_laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "http://127.0.0.1:9/token")
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "STEPWORKS_TARGET"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("_on_a_laptop")
def test_a_laptop_has_no_cluster_unless_one_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="The step makes a Job in a Kubernetes cluster") as raised:
        connect_from_step("a Job")
    assert "stepworks run PIPELINE --host ADDRESS" in raised.value.what_to_do
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    with pytest.raises(ConfigurationError, match="There is no cluster to talk to"):
        connect_from_step("a Job")


@pytest.mark.usefixtures("_on_a_laptop")
def test_on_a_laptop_the_target_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    given = PodPlacement(role="training")
    with pytest.raises(ConfigurationError, match="the role training gets is not known") as raised:
        resolve_placement(given)
    assert "STEPWORKS_TARGET=targets/NAME.yaml" in raised.value.what_to_do
    monkeypatch.setenv("STEPWORKS_TARGET", str(TARGETS / "a100.yaml"))
    assert resolve_placement(given).node_selector == {"gpu-type": "a100-80gb"}
    with pytest.raises(ConfigurationError, match="folders in place of claims"):
        resolve_placement(PodPlacement(role="training", claims=("scratch",)))


@pytest.mark.parametrize(("present", "result"), [(False, {}), (True, {"rows": 1})])
def test_a_job_that_is_made_hands_back_no_result_of_an_earlier_one(
    server: ApiServer, tmp_path: Path, present: bool, result: dict[str, Any]
) -> None:
    folder = tmp_path / "wrote"
    folder.mkdir()
    (folder / "rows").touch()
    (folder / "result.json").write_text('{"rows": 1}')
    cpu = {"cpu": {"request": "1", "limit": "1"}, "memory": {"request": "1Gi", "limit": "1Gi"}}
    spec = job_spec(image="registry.example.com/convert:1", placement=cpu, mounts=[mount("c", str(tmp_path))])
    manifest = build_job(spec, name="convert", run="r-1")

    def complete() -> None:
        server.wait_for_watches(1)
        made = server.objects["jobs", "convert-r-1"]
        server.put({**made, "status": {"conditions": [{"type": "Complete", "status": "True"}]}}, "jobs")

    if present:
        server.put(belonging_to(connect(), manifest, "r-1"), "jobs")
    thread = threading.Thread(target=complete, daemon=True)
    thread.start()
    metadata = run_job(
        connect(), spec, name="convert", run="r-1", folder=str(folder), output=tmp_path / "o", scheduling_timeout=10
    )
    thread.join()
    assert {key: value for key, value in metadata.items() if key not in ("job", "namespace", "uid")} == result
