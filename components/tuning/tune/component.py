"""Search for the best parameters of a training."""

from typing import Any, Optional

from kfp.dsl import HTML, Artifact, Dataset, Input, Output, OutputPath

from stepworks.kubeflow.component import component
from stepworks.tuning.given import check_tuning


@component("gpu", check=check_tuning)
def tune(
    name: str,
    run: str,
    workspace: str,
    train_features: Input[Dataset],
    training: dict[str, Any],
    space: dict[str, Any],
    objective: dict[str, Any],
    image: str,
    placement: dict[str, Any],
    best: OutputPath(dict),  # type: ignore[valid-type]  # kfp's way to name the output
    tuning: Output[Artifact],
    page: Output[HTML],
    validation_features: Optional[Input[Dataset]] = None,  # noqa: UP045  # KFP does not read `Input[Dataset] | None`
    transform: Optional[Input[Artifact]] = None,  # noqa: UP045
    algorithm: str = "tpe",
    algorithm_settings: dict[str, Any] = {},  # noqa: B006  # KFP reads the defaults; the body does not change them
    early_stopping: dict[str, Any] = {},  # noqa: B006
    trials: int = 20,
    parallel_trials: int = 2,
    failed_trials: int = 3,
    metrics_collector: dict[str, Any] = {},  # noqa: B006
    kind: str = "Job",
    nodes: int = 1,
    trial_seconds: int = 86400,
    timeout_seconds: int = 604800,
    scheduling_timeout_seconds: int = 3600,
) -> None:
    """Search for the best parameters of a training: by Katib in a cluster, by Optuna in a local run.

    A retried step takes up the search of the earlier attempt. When it fails or is ended, the search and its trials are
    deleted. docs/tuning.md shows how a pipeline uses it.

    Args:
        name: What the search is called; its name in the cluster is `<name>-<run>`, of at most 40 characters.
        run: The id of the run.
        workspace: Where the trials work: a folder in a ReadWriteMany claim that they and this step mount.
        train_features: What to train on: encoded rows for the built-in builders of a model of a table.
        training: What each trial trains: the fields of a training spec but `inputs`, in any of its three forms. Its
            loop monitors `validation_auc` unless it has another `monitor`.
        space: What is varied, by name: `{"type": "double", "minimum": 1e-4, "maximum": 1e-1, "scale": "log"}`.
        objective: What is looked for: `{"metric": "validation_auc", "goal": "maximize"}`.
        image: The image of the trials; `image_of("gpu")` is the target's.
        placement: Where they run, with which mounts: `placement_of(role, mounts=[...])`.
        best: The best parameters, with their types; the next step can be given them.
        tuning: The tuning document, with every trial.
        page: The trials with plots, for the Kubeflow UI.
        validation_features: What to judge by; without it a model and a data builder report no figure of a validation.
        transform: The transform's parameters; both builders are given them where they are here.
        algorithm: How values are chosen: one of Katib's algorithms.
        algorithm_settings: Its settings.
        early_stopping: When bad trials end before their time: `{"min_trials": 3, "start_step": 4}`; never if empty.
        trials: The most trials.
        parallel_trials: How many of them run at once.
        failed_trials: With more failed trials than this the search fails.
        metrics_collector: How Katib learns a trial's figures: `{"kind": "File", "path": "/tmp/figures"}`; from lines
            `name=value` of its output if empty.
        kind: What each trial makes: Job, TrainJob or PyTorchJob.
        nodes: How many nodes a trial trains on.
        trial_seconds: After how long a trial is ended.
        timeout_seconds: How long the search may take.
        scheduling_timeout_seconds: How long trials may wait for nodes.
    """
    import json
    from pathlib import Path

    from stepworks.placement.pod_placement import PodPlacement
    from stepworks.report.page import write_page
    from stepworks.tuning.experiment import trial_kind
    from stepworks.tuning.result import best_parameters
    from stepworks.tuning.spec import tuning_spec
    from stepworks.tuning.step import Trials, search

    spec = tuning_spec(
        space=space,
        objective=objective,
        algorithm=algorithm,
        algorithm_settings=algorithm_settings,
        early_stopping=early_stopping or None,
        trials=trials,
        parallel_trials=parallel_trials,
        failed_trials=failed_trials,
        metrics_collector=metrics_collector,
    )
    found = search(
        spec,
        training,
        {"train": train_features, "validation": validation_features, "transform": transform},
        workspace,
        Trials(trial_kind(kind), image, PodPlacement.from_json(placement), nodes, trial_seconds),
        name=name,
        run=run,
        timeout=timeout_seconds,
        scheduling_timeout=scheduling_timeout_seconds,
    )
    found.write(tuning.path)
    write_page(page.path, "Tuning", found)
    Path(best).write_text(json.dumps(best_parameters(found)))
