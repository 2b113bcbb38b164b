"""A TrainJob and its runtime as they are sent: whole objects are compared, in each generation of Trainer."""

from typing import Any

import pytest
from pydantic import ValidationError

from stepworks.errors import ConfigurationError
from stepworks.kube.builders.train_job import Served, beyond_overrides, build_train_job, build_training_runtime
from tests.unit.kube.training_jobs import (
    CPU,
    GPU,
    IMAGE,
    RESOURCES,
    RUN,
    SECRET,
    VOLUME_MOUNTS,
    VOLUMES,
    large_job,
    large_pod,
    training_job,
)

_FIELDS = frozenset(
    {"affinity", "imagePullSecrets", "nodeSelector", "serviceAccountName", "tolerations", "volumes"},
)
NEWER = Served("runtimePatches", _FIELDS | {"terminationGracePeriodSeconds"}, deadline=True)
OLDER = Served("podTemplateOverrides", _FIELDS)
OLDEST = Served(None)
TRAINER_FIELDS = {
    "image": IMAGE,
    "command": ["train"],
    "args": ["--fast"],
    "env": [{"name": "A", "value": "1"}, SECRET],
    "resourcesPerNode": {"requests": RESOURCES, "limits": RESOURCES},
}
CHANGED: dict[str, Any] = {
    "metadata": {"labels": {"stepworks.dev/run": RUN}, "annotations": {"sidecar.istio.io/inject": "false"}},
    "spec": {
        "nodeSelector": GPU["node_selector"],
        "tolerations": GPU["tolerations"],
        "serviceAccountName": "worker",
        "volumes": VOLUMES,
        "containers": [{"name": "node", "volumeMounts": VOLUME_MOUNTS}],
    },
}


def train_job(runtime: str, kind: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": f"fit-{RUN}", "labels": {"stepworks.dev/run": RUN}},
        "spec": {
            "runtimeRef": {"apiGroup": "trainer.kubeflow.org", "kind": kind, "name": runtime},
            "suspend": False,
            **spec,
        },
    }


def test_patches_of_a_runtime_that_is_there() -> None:
    newer = {**CHANGED, "spec": {**CHANGED["spec"], "terminationGracePeriodSeconds": 30}}
    jobs = [{"name": "node", "template": {"spec": {"template": newer}}}]
    wanted = train_job(
        "torch-distributed",
        "ClusterTrainingRuntime",
        activeDeadlineSeconds=600,
        trainer={"numNodes": 2, "numProcPerNode": 4, **TRAINER_FIELDS},
        runtimePatches=[
            {
                "manager": "stepworks.dev/train",
                "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": jobs}}},
            }
        ],
    )
    built = build_train_job(large_job(), name="fit", run=RUN, served=NEWER, runtime="torch-distributed")
    assert built == wanted


def test_overrides_of_a_runtime_that_is_there() -> None:
    wanted = train_job(
        "torch-distributed",
        "ClusterTrainingRuntime",
        trainer={"numNodes": 2, "numProcPerNode": 4, **TRAINER_FIELDS},
        podTemplateOverrides=[{"targetJobs": [{"name": "node"}], **CHANGED}],
    )
    built = build_train_job(large_job(), name="fit", run=RUN, served=OLDER, runtime="torch-distributed")
    assert built == wanted


@pytest.mark.parametrize("served", [NEWER, OLDER, OLDEST])
def test_a_runtime_of_its_own_holds_everything_of_the_pods(served: Served) -> None:
    job = large_job(priority_class="training", retry={"count": 3}, queue="team")
    deadline = {"activeDeadlineSeconds": 600}
    queue = {"kueue.x-k8s.io/queue-name": "team"}
    wanted = train_job(
        f"fit-{RUN}",
        "TrainingRuntime",
        **(deadline if served.deadline else {}),
        trainer={"numNodes": 2, "numProcPerNode": 4},
    )
    wanted["metadata"]["labels"] |= queue
    assert build_train_job(job, name="fit", run=RUN, served=served, runtime=None) == wanted
    template = large_pod("node", restartPolicy="Never", priorityClassName="training")
    template["metadata"]["labels"] |= queue
    rule = {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    replicated = {
        "name": "node",
        "template": {
            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
            "spec": {
                "backoffLimit": 0,
                "podFailurePolicy": {"rules": [rule]},
                **({} if served.deadline else deadline),
                "template": template,
            },
        },
    }
    failure_policy = {
        "maxRestarts": 3,
        "restartStrategy": "BlockingRecreate",
        "rules": [
            {
                "name": "disrupted",
                "action": "RestartJobSetAndIgnoreMaxRestarts",
                "onJobFailureReasons": ["PodFailurePolicy"],
            },
            {"name": "deadline", "action": "FailJobSet", "onJobFailureReasons": ["DeadlineExceeded"]},
        ],
    }
    assert build_training_runtime(job, name="fit", run=RUN, served=served) == {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainingRuntime",
        "metadata": {
            "name": f"fit-{RUN}",
            "labels": {"stepworks.dev/run": RUN, "trainer.kubeflow.org/framework": "torch"},
        },
        "spec": {
            "mlPolicy": {"numNodes": 2, "torch": {}},
            "template": {"spec": {"failurePolicy": failure_policy, "replicatedJobs": [replicated]}},
        },
    }


@pytest.mark.parametrize(
    ("placement", "changes", "served", "wanted"),
    [
        ({}, {}, NEWER, []),
        ({}, {}, OLDER, []),
        ({}, {}, OLDEST, ["annotations of its pods"]),
        ({}, {"termination_grace_period_seconds": 60}, NEWER, []),
        ({}, {"termination_grace_period_seconds": 60}, OLDER, ["terminationGracePeriodSeconds of its pods"]),
        ({"priority_class": "high"}, {}, NEWER, ["priorityClassName of its pods"]),
        ({"timeout_seconds": 60}, {}, NEWER, ["activeDeadlineSeconds of its pods"]),
        ({"retry": {"count": 2}}, {}, NEWER, ["2 restarts"]),
    ],
)
def test_what_overrides_cannot_say_is_named(
    placement: dict[str, Any], changes: dict[str, Any], served: Served, wanted: list[str]
) -> None:
    assert beyond_overrides(training_job({**CPU, **placement}, **changes), served) == wanted


def test_room_is_left_for_what_jobset_adds_to_the_names_of_pods() -> None:
    job = build_train_job(training_job(nodes=12), name="n" * 40, run=RUN, served=NEWER, runtime=None)
    assert len(f"{job['metadata']['name']}-node-0-11-abcde") == 63


def test_an_illegal_name_is_told() -> None:
    with pytest.raises(ConfigurationError, match="A TrainJob of the run cannot be named"):
        build_train_job(training_job(), name="Fit", run=RUN, served=NEWER, runtime=None)


def test_variables_of_torchrun_are_refused() -> None:
    with pytest.raises(ValidationError, match="environment has PET_NNODES: torchrun reads"):
        training_job(environment={"PET_NNODES": "2"})
