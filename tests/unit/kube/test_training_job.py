"""What comes between a TrainingRuntime and the TrainJob that takes it."""

import pytest

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.training_job import wait_until_known
from tests.unit.kube.api_handler import Fault, Manifest
from tests.unit.kube.api_server import ApiServer
from tests.unit.kube.conftest import JumpingClock

JOB: Manifest = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "train"}}
UNKNOWN = Fault(
    403,
    message='admission webhook "validator.trainjob" denied the request: spec.runtimeRef: Invalid value: "train": '
    "TrainingRuntime must be created before the TrainJob is created",
)
ANOTHER = Fault(400, message='admission webhook "validator.trainjob" denied the request: spec.trainer: Invalid value')


def test_a_runtime_that_the_webhook_does_not_know_yet_is_waited_for(
    server: ApiServer, cluster: Cluster, clock: JumpingClock
) -> None:
    server.fail("dry-run create", UNKNOWN, UNKNOWN, UNKNOWN)
    wait_until_known(cluster, JOB)
    assert server.calls == ["dry-run create jobs"] * 4
    assert all(query["dryRun"] == "All" for query in server.queries)
    assert len(clock.slept) == 3


@pytest.mark.parametrize("fault", [ANOTHER, Fault(409, message='jobs.batch "train" already exists')])
def test_what_else_the_job_is_refused_for_is_left_to_its_making(
    server: ApiServer, cluster: Cluster, clock: JumpingClock, fault: Fault
) -> None:
    server.fail("dry-run create", fault)
    wait_until_known(cluster, JOB)
    assert not clock.slept


def test_a_webhook_that_never_knows_it_is_not_waited_for_without_an_end(
    server: ApiServer, cluster: Cluster, clock: JumpingClock
) -> None:
    server.fail("dry-run create", *[UNKNOWN] * 1000)
    wait_until_known(cluster, JOB)
    assert 29 < clock.time < 31
