"""What `stepworks cronjob` writes, applied as its user would, and seen to make its Job."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from stepworks.cli.main import app
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import find, get, list_objects
from stepworks.kube.api.references import Reference, Selection
from stepworks.kube.kinds.rules import JOB_COMPLETE
from stepworks.kube.waiting.wait import wait
from stepworks.kubeflow.pipeline import load_pipeline
from testbed.bed import Bed
from tests.control_plane.jobs import ROOT, SECONDS
from tests.control_plane.pods import pods
from tests.waiting import wait_for

PIPELINE = "tabular_train_and_deploy"


def applied(bed: Bed, path: Path, *arguments: str) -> None:
    ended = CliRunner().invoke(app, [*arguments, "--targets", str(ROOT / "targets"), "-o", str(path)])
    assert ended.exit_code == 0, ended.output
    bed.kubectl("apply", "--server-side", "-f", path)


@pytest.mark.slow
def test_a_cron_job_makes_its_job_on_the_nodes_of_the_role(bed: Bed, cluster: Cluster, tmp_path: Path) -> None:
    timing = ["--schedule", "* * * * *", "--time-zone", "Europe/Zurich"]
    job = ["cronjob", "job", "minutely", "--image", "cpu", "-t", "a100", "--role", "training", *timing]
    applied(bed, tmp_path / "cron-job.yaml", *job, "-n", cluster.namespace)
    (made,) = wait_for("a Job is made", lambda: list_objects(cluster, Selection("batch/v1", "Job")), 90)
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("CronJob", "minutely")
    wait(cluster, Reference("batch/v1", "Job", made["metadata"]["name"]), until=JOB_COMPLETE, timeout=SECONDS)
    assert {each["spec"]["nodeName"] for each in pods(cluster)} == {"simulated-gpu"}


def test_the_cron_job_of_a_pipeline_brings_the_compiled_file(bed: Bed, cluster: Cluster, tmp_path: Path) -> None:
    version = load_pipeline(PIPELINE).version
    of = ["cronjob", "pipeline", PIPELINE, "--version", version, "-t", "a100", "--compiled", str(ROOT / "compiled")]
    login = ["--token-from", "in-cluster", "-n", cluster.namespace]
    applied(bed, tmp_path / "cron-job.yaml", *of, *login, "--schedule", "@yearly", "--suspend")
    config_map = get(cluster, Reference("v1", "ConfigMap", "tabular-train-and-deploy-compiled"))
    assert config_map["data"]["a100.yaml"] == (ROOT / "compiled" / PIPELINE / version / "a100.yaml").read_text()
    cron_job = find(cluster, Reference("batch/v1", "CronJob", "tabular-train-and-deploy"))
    assert cron_job
    assert cron_job["spec"]["suspend"] is True
