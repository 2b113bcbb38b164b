"""Train a model in pods of a training job."""

from typing import Any, Optional

from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output

from stepworks.kubeflow.component import component
from stepworks.training.given import check_training


@component("cpu", check=check_training)
def train_distributed(
    name: str,
    run: str,
    image: str,
    placement: dict[str, Any],
    workspace: str,
    train_features: Input[Dataset],
    trained_model: Output[Model],
    training: Output[Artifact],
    metrics: Output[Metrics],
    validation_features: Optional[Input[Dataset]] = None,  # noqa: UP045  # KFP does not read `Input[Dataset] | None`
    transform: Optional[Input[Artifact]] = None,  # noqa: UP045
    kind: str = "TrainJob",
    nodes: int = 2,
    least_nodes: int = 0,
    parameter_servers: int = 0,
    evaluator: bool = False,
    runtime: str = "torch-distributed",
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
    environment: dict[str, str] = {},  # noqa: B006
    config_maps: list[dict[str, Any]] = [],  # noqa: B006
    secrets: list[dict[str, Any]] = [],  # noqa: B006
    active_deadline_seconds: int = 86400,
    scheduling_timeout_seconds: int = 3600,
    grace_seconds: int = 25,
) -> None:
    """Train a model on several nodes, in pods of a TrainJob, a PyTorchJob or a TFJob, and resume after preemption.

    Give `model` and `data` for the library's own loop, or `entrypoint` or `command` for yours. The pods run as many
    processes as the placement says, one for each accelerator otherwise. What rank 0 prints is printed here. A retried
    step takes up the job of the earlier attempt. When the step fails or is ended, the job is suspended, so that it
    holds no accelerator.

    Args:
        name: What the job is called; its name in the cluster is `<name>-<run>`.
        run: The id of the run, and the name of its folder in the workspace.
        image: The image of the pods; `image_of("gpu")` is that of the target.
        placement: Where the pods run, with which mounts: `placement_of(role, mounts=[...])`. Its `retry` says how often
            training begins anew after a failure; after a preemption it always does.
        workspace: A folder in a ReadWriteMany claim that the pods and this step mount; each run has a folder of its own
            in it, with its inputs, checkpoints, logs and model.
        train_features: What to train on.
        trained_model: The model folder; its metadata has the job, and `storage_uri`, where it lies on the claim.
        training: The training document.
        metrics: The best epoch's figures for the Kubeflow UI.
        validation_features: What to choose the best epoch by; without it the last one is taken.
        transform: The transform's parameters; they are copied into the model folder.
        kind: `TrainJob` of Kubeflow Trainer, `PyTorchJob` of the training operator, or `TFJob`, for a `command`.
        nodes: How many pods.
        least_nodes: With how many of its nodes a PyTorchJob goes on; 0 for all of them.
        parameter_servers: How many pods of a TFJob hold weights, on top of the nodes.
        evaluator: Whether one more pod of a TFJob evaluates checkpoints meanwhile.
        runtime: The ClusterTrainingRuntime of a TrainJob, where the placement asks for nothing that only a
            TrainingRuntime of its own can say, as restarts and a priority class.
        model: The model builder, `package.module:name`, as of `training/train`.
        data: The data builder, `package.module:name`, as of `training/train`.
        model_settings: Keyword arguments of the model builder.
        data_settings: Keyword arguments of the data builder.
        entrypoint: A function of your own, `package.module:name`, as of `training/train`.
        settings: Keyword arguments of the entrypoint.
        command: A command of your own and its arguments, as of `training/train`. A pod of a TFJob runs it once.
        epochs: The most passes over the training samples.
        batch_size: Samples an optimizer step, all processes together.
        learning_rate: The peak of the schedule.
        loop: Further fields of `stepworks.training.spec.LoopSettings`, as of `training/train`; one of the three above
            that is here, too, is taken from here.
        parallel: Fields of `stepworks.training.spec.ParallelSettings`: `strategy`, `precision`, `compile`.
        checkpoints: Fields of `stepworks.training.spec.CheckpointSettings`: `every_steps`, `every_seconds`, `keep`.
        parameters: What a search chose, the output `best` of `tuning/tune`; they come before the others.
        environment: Environment variables of the pods.
        config_maps: ConfigMaps as variables or files, each as a target writes it: `name`, and `env` or `mount_path`.
        secrets: Secrets, likewise.
        active_deadline_seconds: After how long the job is ended, the wait for nodes included.
        scheduling_timeout_seconds: How long it may wait for nodes.
        grace_seconds: How long the processes have from SIGTERM to commit a checkpoint.
    """
    from stepworks.training.distributed import PodsRequest, train_in_pods
    from stepworks.training.given import step_spec

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
        parameters=parameters,
        checkpoints=checkpoints,
        grace_seconds=grace_seconds,
    )
    pods = PodsRequest(
        kind=kind,
        name=name,
        run=run,
        image=image,
        placement=placement,
        workspace=workspace,
        nodes=nodes,
        least_nodes=least_nodes,
        parameter_servers=parameter_servers,
        evaluator=evaluator,
        runtime=runtime,
        environment=environment,
        config_maps=config_maps,
        secrets=secrets,
        active_deadline_seconds=active_deadline_seconds,
        scheduling_timeout_seconds=scheduling_timeout_seconds,
    )
    figures, job = train_in_pods(spec, pods, trained_model.path, training.path)
    trained_model.metadata.update(job)
    for figure, value in figures.items():
        metrics.log_metric(figure, value)
