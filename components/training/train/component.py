"""Train a model in the step's own pod."""

from typing import Any

from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from stepworks.kubeflow.component import component


@component("gpu")
def train(
    train_features: Input[Dataset],
    validation_features: Input[Dataset],
    transform: Input[Artifact],
    checkpoints: str,
    run: str,
    trained_model: Output[Model],
    training: Output[Artifact],
    metrics: Output[Metrics],
    model: str = "stepworks.training.tabular:build_model",
    data: str = "stepworks.training.tabular:read_rows",
    model_settings: dict[str, Any] = {},  # noqa: B006  # KFP reads the default; the body does not change it
    epochs: int = 20,
    batch_size: int = 2048,
    learning_rate: float = 2e-3,
    patience: int = 4,
    seed: int = 0,
) -> None:
    """Train a model, with a checkpoint after each epoch, and resume where an earlier attempt was ended.

    Args:
        train_features: Encoded rows to train on.
        validation_features: Encoded rows to choose the best epoch by.
        transform: The transform's parameters; they are copied into the model folder.
        checkpoints: A folder on a claim; each run has a folder of its own in it.
        run: The run's id, and its folder's name, by which a later attempt finds the checkpoints.
        trained_model: The model folder, with the weights of the best epoch.
        training: The training document.
        metrics: The best epoch's figures for the Kubeflow UI.
        model: The model builder, `package.module:name`: given the transform's parameters and `model_settings`, it
            returns a torch module with `loss(outputs, targets)`; `forward` returns one logit a row.
        data: The data builder, `package.module:name`: given a features file and the transform's parameters, it
            returns samples as `stepworks.training.data.samples.Samples` describes them.
        model_settings: Keyword arguments of the model builder.
        epochs: The most passes over the training rows.
        batch_size: Rows an optimizer step.
        learning_rate: The peak of the one-cycle schedule.
        patience: Epochs without a better validation AUC before training stops.
        seed: The seed of weights, dropout and row order.
    """
    import shutil

    from stepworks.operations.run_folders import run_folder
    from stepworks.report.documents import TrainingDocument
    from stepworks.training.launch import run as launch
    from stepworks.training.spec import LoopSettings, TrainingSpec
    from stepworks.training.workspace import Workspace

    workspace = Workspace(run_folder(checkpoints, run))
    loop = LoopSettings(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
        seed=seed,
        monitor="validation_auc",
    )
    inputs = {"train": train_features.path, "validation": validation_features.path, "transform": transform.path}
    launch(TrainingSpec(model=model, data=data, model_settings=model_settings, inputs=inputs, loop=loop), workspace)
    shutil.copytree(workspace.model, trained_model.path, dirs_exist_ok=True)
    document = TrainingDocument.read(workspace.document)
    document.write(training.path)
    best = document.epochs[document.best_epoch - 1]
    metrics.log_metric("validation_auc", best.validation_auc)
    metrics.log_metric("validation_loss", best.validation_loss)
