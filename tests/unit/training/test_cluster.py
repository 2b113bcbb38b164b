"""What the pods of a training job run, and what the step prints of it."""

from pathlib import Path
from typing import Any, cast

import pytest

from stepworks.errors import ConfigurationError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.training_job import TrainingJobKind, run_training_job, training_job_kind, training_job_spec
from stepworks.training.cluster import TrainingJob, training_pods
from stepworks.training.log_printer import printing_log
from stepworks.training.node import caused_elsewhere
from stepworks.training.outcome import Outcome
from stepworks.training.spec import TrainingSpec
from stepworks.training.workspace import Workspace
from tests.waiting import wait_for

ROOT = Path("/mnt/runs/run-1")
CPU = {"cpu": {"request": "1", "limit": "1"}, "memory": {"request": "1Gi", "limit": "1Gi"}}


def job(kind: TrainingJobKind = "TrainJob", nodes: int = 1, **placement: Any) -> TrainingJob:
    pods = training_job_spec(
        image="registry.example.com/gpu:1", placement={**CPU, **placement}, nodes=nodes, environment={"A": "1"}
    )
    nowhere = cast("Cluster", None)  # what the pods run does not depend on it
    return TrainingJob(nowhere, kind, "fit", "run-1", pods, scheduling_timeout=60)


def spec(**form: Any) -> TrainingSpec:
    return TrainingSpec(**(form or {"entrypoint": "package.module:train"}), grace_seconds=24.5)


def test_one_process_is_started_by_python_and_more_by_torchrun() -> None:
    worker = ("-m", "stepworks.training.worker", str(ROOT))
    alone = training_pods(spec(), Workspace(ROOT), job())
    assert alone.command == ("python3", *worker)
    assert training_pods(spec(), Workspace(ROOT), job("PyTorchJob")).command == ("python3", *worker)
    for several in (job("PyTorchJob", nodes=2), job("PyTorchJob", processes=2)):
        pods = training_pods(spec(), Workspace(ROOT), several)
        assert pods.command == ("python3", "-m", "torch.distributed.run", *worker)
    pods = training_pods(spec(), Workspace(ROOT), job("TrainJob", nodes=2))
    assert pods.command == ("python3", "-m", "stepworks.training.node", str(ROOT), "35")
    assert alone.environment == {
        "STEPWORKS_LOG_TO_FILES": "1",
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "24",
        "A": "1",
    }
    assert alone.termination_grace_period_seconds == 30


def test_a_tensorflow_script_is_started_as_it_is() -> None:
    pods = training_pods(spec(command=["python3", "fit.py"]), Workspace(ROOT), job("TFJob", nodes=2))
    assert pods.command == ("python3", "fit.py")
    assert pods.environment == {
        "STEPWORKS_WORKSPACE": str(ROOT),
        "STEPWORKS_CHECKPOINTS": str(ROOT / "checkpoints"),
        "STEPWORKS_MODEL": str(ROOT / "model"),
        "STEPWORKS_METRICS": str(ROOT / "metrics.jsonl"),
        "STEPWORKS_GRACE_SECONDS": "24.5",
        "A": "1",
    }


def test_a_tensorflow_job_trains_by_a_command_only() -> None:
    with pytest.raises(ConfigurationError, match="A TFJob trains by a command only"):
        training_pods(spec(), Workspace(ROOT), job("TFJob"))


@pytest.mark.parametrize(
    ("kind", "changes", "told"),
    [
        ("TrainJob", {"least_nodes": 1}, "A TrainJob has no least_nodes"),
        (
            "PyTorchJob",
            {"parameter_servers": 1, "evaluator": True},
            "A PyTorchJob has no parameter_servers and no eval",
        ),
    ],
)
def test_what_another_kind_of_job_has_is_refused(kind: TrainingJobKind, changes: dict[str, Any], told: str) -> None:
    made = job(kind)
    pods = made.pods.model_copy(update=changes)
    with pytest.raises(ConfigurationError, match=told):
        run_training_job(made.cluster, pods, kind=kind, name="fit", run="run-1", scheduling_timeout=60)


@pytest.mark.parametrize(
    ("exit_codes", "outcome", "elsewhere"),
    [
        ({2: 1, 3: 1}, None, False),
        ({2: 1, 3: 1}, Outcome(state="preempted", rank=0), True),
        ({2: 1, 3: 1}, Outcome(state="failed", rank=0), True),
        ({2: 1, 3: 1}, Outcome(state="failed", rank=3), False),
        ({2: 1, 3: 1}, Outcome(state="failed", rank=3, lost_peer=True), True),
        ({2: -15, 3: 1}, Outcome(state="failed", rank=3, lost_peer=True), True),
        ({2: 1, 3: -9}, Outcome(state="failed", rank=2, lost_peer=True), False),
    ],
)
def test_a_pod_knows_whether_another_is_the_cause(
    exit_codes: dict[int, int], outcome: Outcome | None, elsewhere: bool
) -> None:
    assert caused_elsewhere(exit_codes, outcome) is elsewhere


def test_a_kind_that_is_none_is_told() -> None:
    with pytest.raises(ConfigurationError, match="no such kind of training job") as raised:
        training_job_kind("Job")
    assert raised.value.expected == "TrainJob, PyTorchJob, TFJob"


def test_what_rank_0_prints_is_printed(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.make()
    said: list[str] = []
    with printing_log(workspace, said.append):
        workspace.log(0).write_text("Training on 4 x cpu\n")
        wait_for("it is printed", lambda: said)
        with workspace.log(0).open("a") as file:
            file.write("at the very end\n")
    assert said == ["Training on 4 x cpu", "at the very end"]
