"""Make the folder of a run in a claim that stays."""

from kfp.dsl import OutputPath

from stepworks.kubeflow.component import component


@component("cpu")
def make_folder(
    parent: str,
    run: str,
    folder: OutputPath(str),  # type: ignore[valid-type]  # kfp's way to name the output
) -> None:
    """Make the folder of a run in a claim that stays, or find the one of an earlier attempt.

    Kubeflow Pipelines fills in the run's id only where it is all of a parameter, so that a pipeline cannot write the
    path of such a folder; it can give the output of this step, also within a longer path. `run_claims` puts this step
    into a pipeline.

    Args:
        parent: Where the folder is made: a claim's mount path, or a folder below.
        run: The id of the run, and the folder's name.
        folder: The folder's path.
    """
    from pathlib import Path

    from stepworks.operations.run_folders import make_run_folder

    Path(folder).write_text(make_run_folder(parent, run))
