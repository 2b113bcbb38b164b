"""A search as Katib's Experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stepworks.errors import ConfigurationError
from stepworks.kube.builders import job, pytorch_job, train_job
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.runs.belonging import RUN_LABEL, check_run
from stepworks.placement.names import run_object_name
from stepworks.training.parameters import written
from stepworks.tuning.search_space import ChoiceParameter, DoubleParameter, IntegerParameter, Parameter
from stepworks.tuning.spec import Objective, TuningSpec

API_VERSION = "kubeflow.org/v1beta1"
EXPERIMENT_LABEL = "katib.kubeflow.org/experiment"
"""Holds the name of the Experiment that made a Trial."""
LONGEST_NAME = 40
"""Katib's own limit: the names of trials are longer."""
TRIAL_NAME = "${trialSpec.Name}"
"""In a trial's manifest, what Katib replaces by the trial's name."""
_RESUME_OF_PBT = "FromVolume"
"""Population based training keeps the checkpoints of its generations on a claim."""


@dataclass(frozen=True)
class TrialTemplate:
    """What each trial makes.

    Attributes:
        manifest: A TrainJob, a PyTorchJob or a Job, without name; `placeholder` stands where a value is put in.
        container: The container whose figures count.
        pod_labels: Labels of the one pod that reports them.
        success: The condition, in the words of gjson, by which the object has succeeded.
        failure: The condition by which it has failed.
    """

    manifest: Manifest
    container: str
    pod_labels: Mapping[str, str] = field(default_factory=dict)
    success: str = 'status.conditions.#(type=="Complete")#|#(status=="True")#'
    failure: str = 'status.conditions.#(type=="Failed")#|#(status=="True")#'


TrialKind = Literal["Job", "TrainJob", "PyTorchJob"]
_OF_KIND: Mapping[TrialKind, Mapping[str, Any]] = {
    "Job": {"container": job.CONTAINER},
    "TrainJob": {
        "container": train_job.CONTAINER,
        "pod_labels": {
            "jobset.sigs.k8s.io/replicatedjob-name": train_job.CONTAINER,
            "batch.kubernetes.io/job-completion-index": "0",
        },
    },
    "PyTorchJob": {
        "container": pytorch_job.CONTAINER,
        "pod_labels": {"training.kubeflow.org/job-role": "master"},
        "success": 'status.conditions.#(type=="Succeeded")#|#(status=="True")#',
    },
}
"""How Katib finds the reporting pod of each kind, and how each says that it has ended."""


def trial_kind(given: str) -> TrialKind:
    """What each trial makes, as a step was given it.

    Raises:
        ConfigurationError: It is none of the kinds that Katib can make trials of here.
    """
    for kind in _OF_KIND:
        if given == kind:
            return kind
    raise ConfigurationError(
        "A trial cannot be of this kind",
        received=given,
        expected=f"one of {', '.join(_OF_KIND)}",
        what_to_do="Name another kind of job for the trials.",
    )


def trial_template(manifest: Manifest) -> TrialTemplate:
    """The template of a Job, a TrainJob or a PyTorchJob.

    Raises:
        ConfigurationError: It is another kind.
    """
    return TrialTemplate(manifest, **_OF_KIND[trial_kind(str(manifest["kind"]))])


def placeholder(name: str) -> str:
    """What stands in a trial's manifest where the value of a parameter is put in."""
    return f"${{trialParameters.{name}}}"


def build_experiment(
    spec: TuningSpec,
    template: TrialTemplate,
    *,
    name: str,
    run: str,
) -> Manifest:
    """Build the Experiment of a run.

    Every field is said that Katib's webhook would fill in, so that the object means the same where there is none.

    Args:
        spec: What is searched for.
        template: What each trial makes.
        name: What it is called in the pipeline; its name is `<name>-<run>`, cut to 40 characters.
        run: The run's id.

    Raises:
        ConfigurationError: The name or the run's id is not valid, or the template does not use each parameter once
            or more.
    """
    _refuse_unused(spec, template)
    resume = _RESUME_OF_PBT if spec.algorithm == "pbt" else "Never"
    return {
        "apiVersion": API_VERSION,
        "kind": "Experiment",
        "metadata": {
            "name": run_object_name("Experiment", name, run, longest=LONGEST_NAME),
            "labels": {RUN_LABEL: check_run(run)},
        },
        "spec": {
            "objective": _objective(spec.objective),
            "algorithm": {
                "algorithmName": spec.algorithm,
                "algorithmSettings": _settings(spec.settings_as_text()),
            },
            **_early_stopping(spec),
            "parallelTrialCount": spec.parallel_trials,
            "maxTrialCount": spec.trials,
            "maxFailedTrialCount": spec.failed_trials,
            "resumePolicy": resume,
            "parameters": [_parameter(key, parameter) for key, parameter in spec.space.items()],
            "metricsCollectorSpec": spec.metrics_collector.to_object(),
            "trialTemplate": {
                "primaryContainerName": template.container,
                "primaryPodLabels": dict(template.pod_labels),
                "successCondition": template.success,
                "failureCondition": template.failure,
                "retain": False,
                "trialParameters": [{"name": key, "reference": key} for key in spec.space],
                "trialSpec": template.manifest,
            },
        },
    }


def _refuse_unused(spec: TuningSpec, template: TrialTemplate) -> None:
    text = repr(template.manifest)
    unused = [name for name in spec.space if placeholder(name) not in text]
    if unused:
        raise ConfigurationError(
            "A parameter of the search does not reach the trials",
            received=f"no {', '.join(map(placeholder, unused))} in the trial's manifest",
            expected="each parameter of the space used by the trial",
            what_to_do="Use it in the trial's arguments or variables, or take it out of the space.",
        )


def _objective(objective: Objective) -> Manifest:
    strategies = {objective.metric: objective.strategy, **dict.fromkeys(objective.additional_metrics, "latest")}
    return {
        "type": objective.goal,
        **({"goal": objective.target} if objective.target is not None else {}),
        "objectiveMetricName": objective.metric,
        "additionalMetricNames": list(objective.additional_metrics),
        "metricStrategies": [{"name": name, "value": value} for name, value in strategies.items()],
    }


def _early_stopping(spec: TuningSpec) -> Manifest:
    if spec.early_stopping is None:
        return {}
    settings = {
        "min_trials_required": str(spec.early_stopping.min_trials),
        "start_step": str(spec.early_stopping.start_step),
    }
    return {"earlyStopping": {"algorithmName": "medianstop", "algorithmSettings": _settings(settings)}}


def _settings(settings: Mapping[str, str]) -> list[Manifest]:
    return [{"name": name, "value": value} for name, value in settings.items()]


def _parameter(name: str, parameter: Parameter) -> Manifest:
    match parameter:
        case DoubleParameter():
            kind, space = "double", _range(parameter)
        case IntegerParameter():
            kind, space = "int", _range(parameter)
        case ChoiceParameter():
            kind = "discrete" if parameter.is_numeric else "categorical"
            space = {"list": [written(value) for value in parameter.values]}
    return {"name": name, "parameterType": kind, "feasibleSpace": space}


def _range(parameter: DoubleParameter | IntegerParameter) -> Manifest:
    distribution = {"linear": "uniform", "log": "logUniform"}[parameter.scale]
    ends = {"min": written(parameter.minimum), "max": written(parameter.maximum), "distribution": distribution}
    return ends if parameter.step in (None, 1) else {**ends, "step": written(parameter.step or 1)}
