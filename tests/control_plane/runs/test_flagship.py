"""The flagship on a test bed, as `make run-cluster` runs it: a TrainJob trains the model that KServe then serves."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stepworks.cli.main import app
from stepworks.kube.api.cluster import Cluster, connect
from stepworks.kube.api.objects import list_objects
from stepworks.kube.api.references import Selection
from stepworks.kube.kinds.manifests import status_of
from stepworks.report.run_record import RunRecord
from testbed.bed import Bed
from testbed.settings import Settings
from tests import pod_namespaces
from tests.control_plane.conftest import running_bed
from tests.control_plane.jobs import ROOT
from tests.control_plane.pods import pods

pytestmark = pytest.mark.skipif(pod_namespaces.MISSING, reason="pods have hostnames of their own as root on Linux only")


@pytest.fixture(scope="module")
def whole_bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """The controllers that the flagship needs, and process nodes."""
    settings = Settings(controllers=("jobset", "trainer", "kserve"), simulation=False)
    with running_bed(tmp_path_factory, "whole-bed", settings) as started:
        yield started


@pytest.fixture
def team(whole_bed: Bed) -> Cluster:
    """The namespace that `make run-cluster` makes."""
    whole_bed.kubectl("apply", "-k", ROOT / "testbed" / "team")
    return connect(kubeconfig=whole_bed.kubeconfig, namespace="team")


def test_the_flagship_trains_in_a_train_job_and_ends_served(
    whole_bed: Bed, team: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(whole_bed.kubeconfig))
    where = ["--cluster", "--targets", str(ROOT / "testbed" / "targets"), "--target", "testbed", "--namespace", "team"]
    policy = (ROOT / "testbed" / "roll-out.json").read_text()
    given = ["-p", "epochs=2", "-p", f"roll-out-canary.policy={policy}"]
    ended = CliRunner().invoke(app, ["run", "tabular_train_and_deploy", "--home", str(tmp_path), *where, *given])
    assert ended.exit_code == 0, f"{ended.output}\n{ended.exception}"

    (folder,) = tmp_path.glob("runs/*")
    record = RunRecord.model_validate_json((folder / "run.json").read_bytes())
    assert {step.state for step in record.steps} == {"succeeded"}
    names = [step.name for step in record.steps]
    wanted = ["train-distributed", "evaluate", "gate", "package-model", "deploy", "roll-out-canary"]
    assert [name for name in names if name in wanted] == wanted
    assert "train" not in names

    (job,) = list_objects(team, Selection("trainer.kubeflow.org/v1alpha1", "TrainJob"))
    assert [each["type"] for each in status_of(job)["conditions"] if each["status"] == "True"] == ["Complete"]
    (pod,) = [each for each in pods(team) if each["metadata"]["name"].startswith(job["metadata"]["name"])]
    assert pod["status"]["phase"] == "Succeeded"
    assert pod["spec"]["nodeName"] == "process-gpu"
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"

    (handed_back,) = folder.glob("artifacts/**/trained_model/model.safetensors")
    (on_the_claim,) = (whole_bed.claims / "team" / "stepworks-shared").glob("*/model/model.safetensors")
    assert handed_back.read_bytes() == on_the_claim.read_bytes()

    assert "Roll-out: promoted." in ended.output
    assert "late-flights-v1 answered." in ended.output
