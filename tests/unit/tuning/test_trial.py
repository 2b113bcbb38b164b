"""Trials that really train, in processes of their own."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from stepworks.errors import ConfigurationError, ResourceError, TrainingEndedError
from stepworks.training.given import step_spec, trials_spec
from stepworks.training.metrics import MetricsFile, read_metrics
from stepworks.training.parameters import with_parameters
from stepworks.training.spec import TrainingSpec
from stepworks.training.workspace import Workspace
from stepworks.tuning.given import check_tuning
from stepworks.tuning.local import TrialStoppedError, tune_locally
from stepworks.tuning.search_space import Parameter
from stepworks.tuning.spec import TuningSpec, tuning_spec
from stepworks.tuning.trial import of_trial, prepare, printed_figures, run_here

ROOT = Path(__file__).parents[3]
ENTRYPOINT = "tests.unit.tuning.search_entrypoint:train"
SPACE = {
    "rate": {"type": "double", "minimum": 0.1, "maximum": 0.5},
    "kind": {"type": "choice", "values": ["a", "b"]},
}


def test_a_parameter_goes_where_a_setting_of_its_name_is() -> None:
    spec = TrainingSpec(model="a:b", data="a:c", model_settings={"depth": 2, "width": 8})
    tried = with_parameters(spec, {"learning_rate": 0.01, "batch_size": 64, "depth": 3})
    assert (tried.loop.learning_rate, tried.loop.batch_size) == (0.01, 64)
    assert tried.model_settings == {"depth": 3, "width": 8}
    assert tried.data == "a:c"


def test_an_entrypoint_gets_it_by_name_and_a_command_in_its_arguments() -> None:
    entry = with_parameters(TrainingSpec(entrypoint="a:b", settings={"x": 1}), {"y": 2})
    assert entry.settings == {"x": 1, "y": 2}
    command = TrainingSpec(command=["python", "train.py", "--rate={rate}", "--name={other}", "{fast}"])
    tried = with_parameters(command, {"rate": 1e-05, "fast": True})
    assert tried.command == ["python", "train.py", "--rate=1e-05", "--name={other}", "true"]


def test_what_cannot_reach_the_training_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="does not reach the command") as raised:
        with_parameters(TrainingSpec(command=["train"]), {"rate": 0.1})
    assert raised.value.received == "no {rate} in train"
    with pytest.raises(ConfigurationError, match="training setting is wrong") as raised:
        with_parameters(TrainingSpec(model="a:b", data="a:c"), {"batch_size": -1})
    assert "batch_size" in raised.value.received


def test_a_search_on_this_machine_trains_and_finds_the_best(tmp_path: Path) -> None:
    spec = tuning_spec(
        space={**SPACE, "rate": {**SPACE["rate"], "step": 0.2}},
        objective={"metric": "loss", "goal": "minimize", "additional_metrics": ["is_b"]},
        algorithm="grid",
        trials=4,
    )
    training = TrainingSpec(entrypoint=ENTRYPOINT)
    workspace = Workspace(tmp_path)

    def run_trial(parameters: Any, reporter: Any) -> None:
        name = "-".join(map(str, parameters.values()))
        run_here(training, of_trial(workspace, name), parameters, reporter)

    found = tune_locally(spec, run_trial)
    assert [trial.state for trial in found.trials] == ["succeeded"] * 4
    assert found.best_trial
    assert found.best_trial.parameters == {"rate": 0.3, "kind": "a"}
    assert found.best_trial.metrics == {"loss": pytest.approx(1 / 3), "is_b": 0.0}
    assert (of_trial(workspace, "0.3-a").model / "rate").read_text() == "0.3"


def test_a_trial_that_is_stopped_early_ends_by_itself(tmp_path: Path) -> None:
    class Stopping:
        def report(self, step: int, **metrics: float) -> None:
            if step == 2:
                raise TrialStoppedError

    training = TrainingSpec(entrypoint=ENTRYPOINT, settings={"steps": 600, "pause": 0.1})
    with pytest.raises(TrialStoppedError):
        run_here(training, Workspace(tmp_path / "trial"), {"rate": 0.3, "kind": "a"}, Stopping())
    assert not (tmp_path / "trial" / "model").exists()


def test_an_error_of_whoever_is_told_the_figures_ends_the_trial_and_is_raised(tmp_path: Path) -> None:
    class Wrong:
        def report(self, step: int, **metrics: float) -> None:
            if step == 2:
                raise ValueError("no such study")

    training = TrainingSpec(entrypoint=ENTRYPOINT, settings={"steps": 600, "pause": 0.1})
    with pytest.raises(ValueError, match="no such study"):
        run_here(training, Workspace(tmp_path / "trial"), {"rate": 0.3, "kind": "a"}, Wrong())
    assert not (tmp_path / "trial" / "model").exists()


def test_figures_that_cannot_be_read_at_a_moment_are_read_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.mkdir()  # gives an OSError to whoever reads it
    with printed_figures(path):
        time.sleep(1.2)
        path.rmdir()
        MetricsFile(path).write("report", step=1, loss=0.5)
    assert capsys.readouterr().out.splitlines() == ["loss=0.5"]


def test_figures_that_cannot_be_read_at_all_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    with (
        pytest.raises(ResourceError, match="figures of the trial cannot be read"),
        printed_figures(tmp_path / "metrics.jsonl"),
    ):
        pass


def test_in_a_cluster_a_trial_is_one_command_that_prints_its_figures(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    space = TypeAdapter(dict[str, Parameter]).validate_python(SPACE)
    prepare(workspace, TrainingSpec(entrypoint=ENTRYPOINT, inputs={"train": "rows"}), space)
    command = [sys.executable, "-m", "stepworks.tuning.trial", str(tmp_path), "tune-x1", "rate=0.30", "kind=b"]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert ended.returncode == 0, ended.stderr
    assert [line for line in ended.stdout.splitlines() if line.startswith(("loss=", "is_b="))] == [
        "loss=1", "is_b=1", "loss=0.5", "is_b=1", "loss=0.3333333333", "is_b=1",
    ]  # fmt: skip
    trial = of_trial(workspace, "tune-x1")
    assert (trial.model / "rate").read_text() == "0.3"
    assert TrainingSpec.read(trial.spec).inputs == {"train": str(tmp_path / "inputs" / "rows")}
    wrong = subprocess.run([*command[:-1], "kind=c"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert wrong.returncode == 1
    assert "Received: c is none of a, b" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_whole_numbers_reach_a_command_as_such() -> None:
    command = TrainingSpec(command=["train", "--batch={batch}", "--rate={rate}"])
    tried = with_parameters(command, {"batch": 64.0, "rate": 0.5})  # as Kubeflow Pipelines hands a mapping on
    assert tried.command == ["train", "--batch=64", "--rate=0.5"]


def test_the_figures_of_a_models_own_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    with printed_figures(tmp_path / "metrics.jsonl"):
        metrics.write("epoch", step=5, epoch=1, validation_loss=0.5, figures={"validation_accuracy": 0.75})
    assert capsys.readouterr().out.splitlines() == ["validation_loss=0.5", "validation_accuracy=0.75"]


def test_a_search_that_is_ended_from_outside_begins_no_other_trial(tmp_path: Path) -> None:
    spec = tuning_spec(space=SPACE, objective={"metric": "loss", "goal": "minimize"}, algorithm="random", trials=3)
    training = TrainingSpec(command=["sh", "-c", "exit 75"])  # as a training that SIGTERM ended
    begun = []

    def run_trial(parameters: Any, reporter: Any) -> None:
        begun.append(parameters)
        run_here(training, of_trial(tmp_workspace, f"trial-{len(begun)}"), {}, reporter)

    tmp_workspace = Workspace(tmp_path)
    with pytest.raises(TrainingEndedError):
        tune_locally(spec, run_trial)
    assert len(begun) == 1


def test_a_trial_with_other_parameters_does_not_resume_that_of_an_earlier_attempt(tmp_path: Path) -> None:
    class Silent:
        def report(self, step: int, **metrics: float) -> None:
            del step, metrics

    training = TrainingSpec(entrypoint=ENTRYPOINT)
    trial = Workspace(tmp_path / "trial-0")
    for kind in ("a", "a", "b"):
        run_here(training, trial, {"rate": 0.3, "kind": kind}, Silent())
    figures = [line["is_b"] for line in read_metrics(trial.metrics) if line["kind"] == "report"]
    assert set(figures) == {1.0}


def test_each_end_of_a_range_has_to_be_a_value_of_the_setting() -> None:
    known = {
        **{name: field.get_default(call_default_factory=True) for name, field in TuningSpec.model_fields.items()},
        "training": {"model": "a:b", "data": "a:c"},
        "space": {"warmup": {"type": "double", "minimum": 0.1, "maximum": 1.5}},
        "objective": {"metric": "loss", "goal": "minimize"},
        "early_stopping": {},
        "metrics_collector": {},
    }
    with pytest.raises(ConfigurationError, match="training setting is wrong") as raised:
        check_tuning(known)
    assert "warmup is 1.5" in raised.value.received


def test_trials_choose_by_what_the_step_chooses_by_that_trains_with_the_best() -> None:
    builders = {"model": "a:b", "data": "a:c"}
    for loop in ({}, {"monitor": "validation_accuracy"}, {"epochs": 3}):
        step = step_spec({}, **builders, entrypoint="", command=[], loop=loop, parallel={}, parameters={})
        assert trials_spec({**builders, "loop": loop}, {}).loop == step.loop
    assert trials_spec(builders, {"train": "rows"}).inputs == {"train": "rows"}
    assert trials_spec(builders, {}).loop.monitor == "validation_auc"
