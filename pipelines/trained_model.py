"""How the pipelines of the library train: in the pod of a step, or in a TrainJob where the target says so."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from kfp import dsl

from stepworks.components.training.train.component import train
from stepworks.components.training.train_distributed.component import train_distributed
from stepworks.kubeflow.pipeline import claim_path, trains_in
from stepworks.kubeflow.place import place
from stepworks.kubeflow.placement_of import image_of, placement_of

CHECKPOINTS = "checkpoints"
"""The claim of the workspace. With a TrainJob the step and the pods mount it at once, so it is ReadWriteMany there."""


def train_model(*, mounts: Collection[str] = (), **inputs: Any) -> dsl.PipelineTask:
    """Train a model in what the target has for it (`training:` of its file), at the role `training` either way.

    A TrainJob has one pod, which is what the step's own would be: the same code, inputs, accelerators and checkpoints,
    so that the model is the same.

    Args:
        mounts: The claims that training mounts, besides that of its checkpoints.
        inputs: Inputs that both `training/train` and `training/train_distributed` have: `train_features`, `epochs`, …

    Returns:
        The task, with the outputs `trained_model`, `training` and `metrics`.

    Raises:
        ConfigurationError: As `place` and `placement_of` say.
    """
    run, workspace = dsl.PIPELINE_JOB_ID_PLACEHOLDER, claim_path(CHECKPOINTS)
    claims = [CHECKPOINTS, *mounts]
    if trains_in() == "step":
        return place(train(run=run, workspace=workspace, **inputs), "training", mounts=claims)
    task = train_distributed(
        name="train",
        run=run,
        workspace=workspace,
        image=image_of("gpu"),
        placement=placement_of("training", mounts=claims),
        nodes=1,
        **inputs,
    )
    return place(task, "waits", mounts=[CHECKPOINTS])
