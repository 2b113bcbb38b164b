"""What the step `training/train` does: train on its own machine, and hand over the model and how it went."""

from __future__ import annotations

import shutil
from pathlib import Path

from stepworks.errors import NotFoundError, ResourceError
from stepworks.report.documents import TrainingDocument
from stepworks.training.launch import run
from stepworks.training.spec import TrainingSpec
from stepworks.training.workspace import Workspace


def train_step(
    spec: TrainingSpec, root: Path, processes: int, model: str | Path, document: str | Path
) -> dict[str, float]:
    """Train, or resume training, and copy the model and the training document to where the step wants them.

    Args:
        spec: What to train.
        root: The run's own folder; a later attempt that gives the same folder resumes.
        processes: How many processes.
        model: Where the model folder is copied to.
        document: Where the training document is written to. It has no epochs where the loop is not ours.

    Returns:
        The figures of the best epoch by their names; none where the loop is not ours.

    Raises:
        StepworksError: As of `run`.
    """
    workspace = Workspace(root)
    run(spec, workspace, processes=processes)
    return hand_over(spec, workspace, model, document)


def hand_over(spec: TrainingSpec, workspace: Workspace, model: str | Path, document: str | Path) -> dict[str, float]:
    """Copy the model and the training document of a completed run to where the step wants them.

    Args:
        spec: What was trained.
        workspace: The run's own folder.
        model: Where the model folder is copied to.
        document: Where the training document is written to. It has no epochs where the loop is not ours.

    Returns:
        The figures of the best epoch by their names; none where the loop is not ours.

    Raises:
        NotFoundError: There is no model.
        ResourceError: The disk of the step is full, or the model cannot be read.
    """
    if not workspace.model.is_dir():
        raise NotFoundError(
            "There is no model to hand over",
            received=f"no folder {workspace.model}",
            expected="the model that the completed training has written",
            what_to_do="See that the step and the pods that trained mount the same claim at the same path.",
        )
    try:
        shutil.copytree(workspace.model, model, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise ResourceError(
            f"The model {workspace.model} cannot be handed over",
            received=f"{type(error).__name__}: {error}",
            expected=f"a folder that this step may read, and room for it in {model}",
            what_to_do="Where the disk is full, give the step's placement more ephemeral storage; otherwise let the "
            "step read the model. Run it again: training is done.",
        ) from error
    if spec.form != "builders":
        TrainingDocument(
            model=spec.entrypoint or " ".join(spec.command),
            settings={name: str(value) for name, value in spec.settings.items()},
        ).write(document)
        return {}
    training = TrainingDocument.read(workspace.document)
    training.write(document)
    best = training.best
    assert best is not None  # our loop has at least one epoch, one of which is the best
    return best.metrics
