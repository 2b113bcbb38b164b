"""The step run_job on a real API server, with the real Job controller and scheduler; the nodes are simulated."""

import json
from pathlib import Path

import pytest

from stepworks.errors import AccessDeniedError, AlreadyExistsError, ClusterError, ConfigurationError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import create, get, list_objects
from stepworks.kube.api.references import Selection, reference_to
from stepworks.kube.builders.job import build_job
from stepworks.kube.kinds.manifests import Manifest
from stepworks.operations.clean_up import clean_up
from tests.control_plane.jobs import played, run_step
from tests.control_plane.kube.workloads import allow, allow_steps, connect_as, once_allowed
from tests.control_plane.pods import pods

pytestmark = pytest.mark.usefixtures("bed")  # the nodes are simulated ones


def test_a_job_runs_to_its_end_and_a_retried_step_takes_it_up(cluster: Cluster, tmp_path: Path) -> None:
    made = run_step(cluster, played("succeeded"), tmp_path / "first")
    job = json.loads((tmp_path / "first" / "job.json").read_text())
    assert job["status"]["succeeded"] == 1
    assert made == {"job": "convert-r-1", "namespace": cluster.namespace, "uid": job["metadata"]["uid"]}
    assert run_step(cluster, played("succeeded"), tmp_path / "second") == made
    assert len(pods(cluster)) == 1


def test_a_placement_decides_on_the_nodes(cluster: Cluster, tmp_path: Path) -> None:
    run_step(cluster, played("succeeded", role="training"), tmp_path / "gpu", name="gpu")
    run_step(cluster, played("succeeded", role="small"), tmp_path / "cpu", name="cpu")
    nodes = {each["metadata"]["name"].partition("-")[0]: each["spec"]["nodeName"] for each in pods(cluster)}
    assert nodes == {"gpu": "simulated-gpu", "cpu": "simulated-cpu"}


def test_many_pods_with_a_long_name_each_have_their_index(cluster: Cluster, tmp_path: Path) -> None:
    spec = played("succeeded", completions=12, parallelism=12)
    made = run_step(cluster, spec, tmp_path, name="n" * 63)
    assert len(made["job"]) == 60
    indices = {each["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] for each in pods(cluster)}
    assert indices == {str(number) for number in range(12)}


def test_a_permanent_exit_code_ends_it_at_once_and_for_good(cluster: Cluster, tmp_path: Path) -> None:
    spec = played("failed", exit_code=64, retries=5, permanent_exit_codes=[64])
    for _ in range(2):  # the step, and its retry, which makes no pod
        with pytest.raises(ClusterError, match="64"):
            run_step(cluster, spec, tmp_path / "output")
        assert len(pods(cluster)) == 1
    assert not (tmp_path / "output").exists()


def test_another_exit_code_is_tried_again_and_then_a_failure(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="Job convert-r-1"):
        run_step(cluster, played("failed", retries=1, permanent_exit_codes=[64]), tmp_path / "output")
    assert len(pods(cluster, "Failed")) == 2
    assert not (tmp_path / "output").exists()


def test_a_job_of_somebody_else_is_left_alone(cluster: Cluster, tmp_path: Path) -> None:
    other = build_job(played("succeeded"), name="convert", run="r-1")
    del other["metadata"]["labels"], other["spec"]["template"]["metadata"]["labels"]  # a Job takes those of its pods
    before = create(cluster, other)
    with pytest.raises(AlreadyExistsError, match="The Job convert-r-1 is there already"):
        run_step(cluster, played("succeeded"), tmp_path)
    after = get(cluster, reference_to(other))
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert (after["spec"].get("suspend"), after["metadata"].get("labels")) == (False, before["metadata"].get("labels"))


def test_the_permissions_of_its_role_are_enough(cluster: Cluster, tmp_path: Path) -> None:
    account = connect_as(cluster, "runner", tmp_path)
    allow_steps(cluster, "runner", "run_job")
    once_allowed(lambda: list_objects(account, Selection("batch/v1", "Job")))
    assert run_step(account, played("succeeded"), tmp_path / "good", name="good")["job"] == "good-r-1"
    with pytest.raises(ClusterError) as raised:
        run_step(account, played("failed", exit_code=64, permanent_exit_codes=[64]), tmp_path / "bad", name="bad")
    assert "forbidden" not in str(raised.value).lower()
    assert "permission" not in str(raised.value)


@pytest.mark.parametrize(("name", "run_id"), [("Convert", "r-1"), ("convert", "r" * 60), ("", "r-1")])
def test_an_illegal_name_makes_nothing(cluster: Cluster, name: str, run_id: str) -> None:
    with pytest.raises(ConfigurationError):
        create(cluster, build_job(played("succeeded"), name=name, run=run_id))
    assert list_objects(cluster, Selection("batch/v1", "Job")) == []


def test_the_api_server_knows_every_field(cluster: Cluster) -> None:
    everything = played(
        "succeeded",
        role="training",
        command=["convert"],
        arguments=["$(SIZE)"],
        environment={"SIZE": "3"},
        config_maps=[{"name": "settings", "mount_path": "/etc/settings"}],
        secrets=[{"name": "store", "env": {"key": "STORE_KEY"}}],
        tokens=[{"audience": "example.com", "mount_path": "/var/run/token"}],
        mounts=[{"claim": "data", "mount_path": "/mnt/data", "access_mode": "ReadWriteMany"}],
        completions=2,
        permanent_exit_codes=[64],
        suspend=True,
    )
    job = build_job(everything, name="convert", run="r-1")
    stored = create(cluster, job, dry_run=True)  # unknown fields are errors
    assert stored["spec"]["podFailurePolicy"] == job["spec"]["podFailurePolicy"]


def jobs_rule(*verbs: str) -> Manifest:
    return {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": list(verbs)}


def test_without_the_permission_to_let_go_of_it_no_job_is_made(cluster: Cluster, tmp_path: Path) -> None:
    runner = connect_as(cluster, "runner", tmp_path)
    allow(cluster, "runner", [jobs_rule("create", "get", "list", "watch")])
    once_allowed(lambda: list_objects(runner, Selection("batch/v1", "Job")))
    with pytest.raises(AccessDeniedError, match="refused to patch the Job convert-r-1") as caught:
        run_step(runner, played("succeeded"), tmp_path / "output")
    assert 'verbs: ["patch"]' in caught.value.what_to_do
    assert not list_objects(cluster, Selection("batch/v1", "Job"))


def test_kinds_that_the_run_may_not_create_do_not_fail_the_exit_step(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = connect_as(cluster, "runner", tmp_path)
    allow(cluster, "runner", [jobs_rule("create", "get", "list", "watch", "patch", "delete")])
    once_allowed(lambda: list_objects(runner, Selection("batch/v1", "Job")))
    run_step(runner, played("succeeded"), tmp_path / "output")
    monkeypatch.setattr("stepworks.operations.clean_up.cluster_of_step", lambda: runner)
    clean_up("r-1", [], objects=True)
    told = capsys.readouterr().out
    assert "Not looked for: objects of the kind ConfigMap, which the run may neither list nor create." in told
    assert "Deleted the Job convert-r-1." in told
    assert not list_objects(cluster, Selection("batch/v1", "Job"))
