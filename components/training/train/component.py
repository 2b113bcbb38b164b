"""Train a model in the step's own pod."""

from typing import Any, Optional

from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from stepworks.kubeflow.component import component
from stepworks.training.given import check_training


@component("gpu", check=check_training)
def train(
    train_features: Input[Dataset],
    workspace: str,
    run: str,
    trained_model: Output[Model],
    training: Output[Artifact],
    metrics: Output[Metrics],
    validation_features: Optional[Input[Dataset]] = None,  # noqa: UP045  # KFP does not read `Input[Dataset] | None`
    transform: Optional[Input[Artifact]] = None,  # noqa: UP045
    model: str = "stepworks.training.tabular:build_model",
    data: str = "stepworks.training.tabular:read_rows",
    model_settings: dict[str, Any] = {},  # noqa: B006  # KFP reads the default; the body does not change it
    data_settings: dict[str, Any] = {},  # noqa: B006
    entrypoint: str = "",
    settings: dict[str, Any] = {},  # noqa: B006
    command: list[str] = [],  # noqa: B006
    epochs: int = 20,
    batch_size: int = 2048,
    learning_rate: float = 2e-3,
    loop: dict[str, Any] = {},  # noqa: B006
    parallel: dict[str, Any] = {},  # noqa: B006
    checkpoints: dict[str, Any] = {},  # noqa: B006
    parameters: dict[str, Any] = {},  # noqa: B006
    processes: int = 1,
) -> None:
    """Train a model, with checkpoints, and resume where an earlier attempt was ended.

    Give `model` and `data` for the library's own loop, or `entrypoint` or `command` for yours.

    Args:
        train_features: What to train on: encoded rows for the built-in builders.
        workspace: A folder on a claim; each run has a folder of its own in it, with its checkpoints, logs and model.
        run: The run's id, and its folder's name, by which a later attempt finds the checkpoints.
        trained_model: The model folder, with the weights of the best epoch.
        training: The training document.
        metrics: The best epoch's figures for the Kubeflow UI.
        validation_features: What to choose the best epoch by; without it the last one is taken.
        transform: The transform's parameters; they are copied into the model folder.
        model: The model builder, `package.module:name`: given the transform's parameters, where there is a transform,
            and `model_settings`, it returns a torch module with `loss(outputs, targets)`.
        data: The data builder, `package.module:name`: given an input's path, the transform's parameters and
            `data_settings`, it returns samples as `stepworks.training.data.samples.Samples` describes them.
        model_settings: Keyword arguments of the model builder.
        data_settings: Keyword arguments of the data builder.
        entrypoint: A function of your own, `package.module:name`, called with a
            `stepworks.training.context.TrainingContext` and `settings` in each process.
        settings: Keyword arguments of the entrypoint.
        command: A command of your own and its arguments, run in each process. It finds its inputs, and the folders of
            its checkpoints and its model, in the variables `STEPWORKS_INPUT_TRAIN`, `STEPWORKS_CHECKPOINTS` and
            `STEPWORKS_MODEL`.
        epochs: The most passes over the training samples.
        batch_size: Samples an optimizer step, all processes together.
        learning_rate: The peak of the schedule.
        loop: Further fields of `stepworks.training.spec.LoopSettings`: `accumulation`, `patience`, `monitor`. The
            figure that is monitored is `validation_auc` unless this says otherwise.
        parallel: Fields of `stepworks.training.spec.ParallelSettings`: `strategy`, `precision`, `compile`.
        checkpoints: Fields of `stepworks.training.spec.CheckpointSettings`: `every_steps`, `every_seconds`, `keep`.
        parameters: What a search chose, the output `best` of `tuning/tune`; they come before the others.
        processes: How many processes train, one a GPU; torchrun starts more than one.
    """
    from stepworks.operations.run_folders import run_folder
    from stepworks.training.given import step_spec
    from stepworks.training.step import train_step

    spec = step_spec(
        {"train": train_features, "validation": validation_features, "transform": transform},
        model=model,
        data=data,
        model_settings=model_settings,
        data_settings=data_settings,
        entrypoint=entrypoint,
        settings=settings,
        command=command,
        loop={"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, **loop},
        parallel=parallel,
        checkpoints=checkpoints,
        parameters=parameters,
    )
    for name, value in train_step(
        spec, run_folder(workspace, run), processes, trained_model.path, training.path
    ).items():
        metrics.log_metric(name, value)
