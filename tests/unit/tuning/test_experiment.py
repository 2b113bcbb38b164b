"""A search as an Experiment, and what Katib's objects tell of its trials."""

from typing import Any

import pytest

from stepworks.errors import ConfigurationError, RunError
from stepworks.tuning.experiment import build_experiment, placeholder, trial_template
from stepworks.tuning.result import best_parameters, read_tuning
from stepworks.tuning.spec import TuningSpec, tuning_spec

JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "spec": {"template": {"spec": {"containers": [{
        "name": "main", "image": "registry.example.com/train:1",
        "args": [f"--rate={placeholder('rate')}", f"--depth={placeholder('depth')}", f"--kind={placeholder('kind')}"],
    }]}}},
}  # fmt: skip


def spec_of(**changed: Any) -> TuningSpec:
    fields: dict[str, Any] = {
        "space": {
            "rate": {"type": "double", "minimum": 1e-4, "maximum": 1.0, "scale": "log"},
            "depth": {"type": "integer", "minimum": 2, "maximum": 8, "step": 2},
            "kind": {"type": "choice", "values": ["a", "b"]},
        },
        "objective": {"metric": "validation_auc", "goal": "maximize", "target": 0.9, "additional_metrics": ["loss"]},
        "early_stopping": {},
        "trials": 12,
        "parallel_trials": 3,
    }
    return tuning_spec(**(fields | changed))


def test_an_experiment_says_every_field() -> None:
    settings = {"random_state": 7.0}  # Kubeflow Pipelines makes every number in a mapping a float
    assert build_experiment(spec_of(algorithm_settings=settings), trial_template(JOB), name="tune", run="r-1") == {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "tune-r-1", "labels": {"stepworks.dev/run": "r-1"}},
        "spec": {
            "objective": {
                "type": "maximize",
                "goal": 0.9,
                "objectiveMetricName": "validation_auc",
                "additionalMetricNames": ["loss"],
                "metricStrategies": [{"name": "validation_auc", "value": "max"}, {"name": "loss", "value": "latest"}],
            },
            "algorithm": {
                "algorithmName": "tpe",
                "algorithmSettings": [{"name": "random_state", "value": "7"}],
            },
            "earlyStopping": {
                "algorithmName": "medianstop",
                "algorithmSettings": [
                    {"name": "min_trials_required", "value": "3"},
                    {"name": "start_step", "value": "4"},
                ],
            },
            "parallelTrialCount": 3,
            "maxTrialCount": 12,
            "maxFailedTrialCount": 3,
            "resumePolicy": "Never",
            "parameters": [
                {
                    "name": "rate",
                    "parameterType": "double",
                    "feasibleSpace": {"min": "0.0001", "max": "1.0", "distribution": "logUniform"},
                },
                {
                    "name": "depth",
                    "parameterType": "int",
                    "feasibleSpace": {"min": "2", "max": "8", "distribution": "uniform", "step": "2"},
                },
                {"name": "kind", "parameterType": "categorical", "feasibleSpace": {"list": ["a", "b"]}},
            ],
            "metricsCollectorSpec": {"collector": {"kind": "StdOut"}},
            "trialTemplate": {
                "primaryContainerName": "main",
                "primaryPodLabels": {},
                "successCondition": 'status.conditions.#(type=="Complete")#|#(status=="True")#',
                "failureCondition": 'status.conditions.#(type=="Failed")#|#(status=="True")#',
                "retain": False,
                "trialParameters": [{"name": name, "reference": name} for name in ("rate", "depth", "kind")],
                "trialSpec": JOB,
            },
        },
    }


def test_numbers_to_choose_from_have_an_order_for_katib() -> None:
    space = {"rate": {"type": "choice", "values": [0.1, 1]}, "depth": {"type": "choice", "values": [True, False]}}
    manifest = {**JOB, "spec": {"args": [placeholder("rate"), placeholder("depth")]}}
    parameters = build_experiment(spec_of(space=space), trial_template(manifest), name="t", run="r")["spec"][
        "parameters"
    ]
    assert [(each["parameterType"], each["feasibleSpace"]["list"]) for each in parameters] == [
        ("discrete", ["0.1", "1"]),
        ("categorical", ["true", "false"]),
    ]


FILE = {"path": "/m", "kind": "File", "format": "JSON"}
EVENTS = {"path": "/var/log/katib/tfevent/", "kind": "Directory"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"kind": "File", "format": "JSON", "path": "/m"}, {"fileSystemPath": FILE}),
        ({"kind": "TensorFlowEvent"}, {"fileSystemPath": EVENTS}),
        ({"kind": "PrometheusMetric", "port": 9000.0}, {"httpGet": {"path": "/metrics", "port": 9000}}),
        ({"pattern": "(a)=(b)"}, {"filter": {"metricsFormat": ["(a)=(b)"]}}),
        ({"kind": "Push"}, None),
    ],
)
def test_every_collector_is_told_where_the_figures_are(given: dict[str, Any], expected: Any) -> None:
    built = build_experiment(spec_of(metrics_collector=given), trial_template(JOB), name="tune", run="r-1")
    assert built["spec"]["metricsCollectorSpec"] == {
        "collector": {"kind": given.get("kind", "StdOut")},
        **({"source": expected} if expected else {}),
    }


def test_pbt_keeps_its_checkpoints() -> None:
    settings = {"suggestion_trial_dir": "/mnt/pbt", "n_population": 4, "truncation_threshold": 0.2}
    spec = spec_of(algorithm="pbt", algorithm_settings=settings)
    built = build_experiment(spec, trial_template(JOB), name="tune", run="r-1")
    assert built["spec"]["resumePolicy"] == "FromVolume"


def test_a_parameter_that_reaches_no_trial_is_refused() -> None:
    manifest = {**JOB, "spec": {"args": [placeholder("rate")]}}
    with pytest.raises(ConfigurationError, match="does not reach the trials") as raised:
        build_experiment(spec_of(), trial_template(manifest), name="tune", run="r-1")
    assert "${trialParameters.depth}, ${trialParameters.kind}" in raised.value.received


def test_a_kind_that_katib_does_not_know_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot be of this kind"):
        trial_template({"kind": "Deployment"})


def trial(
    number: int, condition: str, metrics: dict[str, tuple[str, str, str]] | None = None, **given: str
) -> dict[str, Any]:
    assignments = {"rate": "0.01", "depth": "4", "kind": "a"} | given
    conditions = [{"type": "Running", "status": "False"}, {"type": condition, "status": "True"}]
    if condition in {"EarlyStopped", "MetricsUnavailable"}:
        conditions.append({"type": "Succeeded", "status": "True"})
    found = [
        {"name": name, "min": low, "max": high, "latest": last} for name, (low, high, last) in (metrics or {}).items()
    ]
    return {
        "metadata": {"name": f"tune-{number}", "creationTimestamp": f"2026-11-28T08:0{number}:00Z"},
        "spec": {"parameterAssignments": [{"name": name, "value": value} for name, value in assignments.items()]},
        "status": {
            "conditions": conditions,
            "observation": {"metrics": found},
            "startTime": f"2026-11-28T08:0{number}:00Z",
            "completionTime": f"2026-11-28T08:0{number}:30Z",
        },
    }


ENDED = {"status": {"conditions": [{"type": "Succeeded", "status": "True", "reason": "ExperimentMaxTrialsReached"}]}}
REPORTED = {
    "validation_auc": ("0.5", "0.8", "0.7"),
    "loss": ("0.2", "0.9", "0.3"),
    "other": ("0", "0", "unavailable"),
}
TRIALS = [
    trial(3, "Failed", {"validation_auc": ("0.1", "0.99", "0.99")}),
    trial(
        1,
        "Succeeded",
        {"validation_auc": ("0.5", "0.8", "0.7"), "loss": ("0.2", "0.9", "0.3"), "other": ("0", "0", "unavailable")},
        depth="6",
    ),
    trial(2, "EarlyStopped", {"validation_auc": ("0.4", "0.75", "0.75")}),
    trial(4, "MetricsUnavailable"),
    trial(5, "Running"),
]


def test_trials_are_read_in_their_order_and_the_best_is_chosen_among_those_that_count() -> None:
    found = read_tuning(spec_of(), ENDED, TRIALS)
    assert [(each.name, each.state, each.metrics) for each in found.trials] == [
        ("tune-1", "succeeded", {"validation_auc": 0.8, "loss": 0.3}),
        ("tune-2", "stopped_early", {"validation_auc": 0.75}),
        ("tune-3", "failed", {"validation_auc": 0.99}),
        ("tune-4", "without_metrics", {}),
        ("tune-5", "running", {}),
    ]
    assert found.trials[0].seconds == 30
    assert (found.best, found.ended_by) == ("tune-1", "all trials are done")
    assert best_parameters(found) == {"rate": 0.01, "depth": 6, "kind": "a"}


def test_the_latest_value_counts_where_the_objective_says_so() -> None:
    objective = {"metric": "validation_auc", "goal": "maximize", "best_of": "latest"}
    assert read_tuning(spec_of(objective=objective), ENDED, TRIALS).best == "tune-2"


def test_a_search_whose_trials_all_failed_has_no_best() -> None:
    failed = {"status": {"conditions": [{"type": "Failed", "status": "True", "message": "Experiment has failed"}]}}
    found = read_tuning(spec_of(), failed, [TRIALS[0], TRIALS[3]])
    assert (found.best, found.ended_by) == (None, "Experiment has failed")
    with pytest.raises(RunError, match="No trial of the search reported validation_auc") as raised:
        best_parameters(found)
    assert raised.value.received == "2 trials: 1 failed, 1 without metrics"


def test_a_figure_that_is_not_a_number_is_not_the_best() -> None:
    lost = trial(0, "Succeeded", {"validation_auc": ("nan", "nan", "nan")})
    found = read_tuning(spec_of(), ENDED, [lost, *TRIALS])
    assert found.best == "tune-1"
    assert found.trials[0].metrics == {}
