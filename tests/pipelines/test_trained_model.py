"""A target says in what pipelines train; each pipeline that leaves it to the target compiles either way."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.compile import compile_pipeline
from stepworks.kubeflow.pipeline import load_pipeline
from stepworks.placement.target import Target, read_targets

ROOT = Path(__file__).parents[2]
A100 = read_targets(ROOT / "targets", ["a100"])["a100"]
TESTBED = read_targets(ROOT / "testbed" / "targets", ["testbed"])["testbed"]
PIPELINES = ["tabular_train_and_deploy", "tabular_tune", "language_fine_tune"]


def changed(training: str, access_mode: str = "ReadWriteMany") -> Target:
    """The target a100 that trains in something, with a claim of some mode for checkpoints."""
    content = A100.model_dump(exclude_unset=True)
    claims = content["claims"]
    claims = {**claims, "checkpoints": {**claims["checkpoints"], "access_mode": access_mode}}
    return Target.model_validate({**content, "training": training, "claims": claims})


def tasks(pipeline: str, target: Target) -> dict[str, Any]:
    """The tasks of a pipeline by their names, whatever graph they are in."""
    ir = next(iter(yaml.safe_load_all(compile_pipeline(load_pipeline(pipeline), target).text)))
    graphs = [ir["root"], *ir["components"].values()]
    return {name: task for graph in graphs for name, task in graph.get("dag", {}).get("tasks", {}).items()}


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_a_target_with_train_jobs_gets_one_in_place_of_the_step(pipeline: str) -> None:
    in_job, in_step = tasks(pipeline, changed("TrainJob")), tasks(pipeline, changed("step"))
    assert in_job.keys() - in_step.keys() == {"train-distributed"}
    assert in_step.keys() - in_job.keys() == {"train"}
    given, before = (each["inputs"] for each in (in_job["train-distributed"], in_step["train"]))
    assert given["artifacts"] == before["artifacts"]
    own = {"name", "image", "placement", "nodes"}
    assert given["parameters"].keys() - before["parameters"].keys() == own
    assert {name: each for name, each in given["parameters"].items() if name not in own} == before["parameters"]


def test_its_pod_gets_what_the_step_would_have_had() -> None:
    given = tasks("tabular_train_and_deploy", changed("TrainJob"))["train-distributed"]["inputs"]["parameters"]
    constants = {name: each["runtimeValue"]["constant"] for name, each in given.items() if "runtimeValue" in each}
    assert constants["nodes"] == 1
    assert constants["image"] == A100.image("gpu")
    assert constants["placement"]["role"] == "training"
    assert constants["placement"]["claims"] == ["checkpoints", "datasets"]


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_a_claim_for_one_node_is_refused(pipeline: str) -> None:
    with pytest.raises(ConfigurationError, match=r"checkpoints.*ReadWriteOnce"):
        tasks(pipeline, changed("TrainJob", "ReadWriteOnce"))


def test_the_test_bed_trains_in_a_train_job() -> None:
    assert "train-distributed" in tasks("tabular_train_and_deploy", TESTBED)
