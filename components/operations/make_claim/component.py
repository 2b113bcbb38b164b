"""Make a PersistentVolumeClaim for the run."""

from kfp.dsl import OutputPath

from stepworks.kubeflow.component import component


@component("cpu")
def make_claim(
    name: str,
    run: str,
    size: str,
    access_mode: str,
    claim: OutputPath(str),  # type: ignore[valid-type]  # kfp's way to name the output
    storage_class: str = "",
) -> None:
    """Make a PersistentVolumeClaim for the run, with the run's label, or adopt the one of an earlier attempt.

    KFP's own CreatePVC cannot set a label, by which the exit step finds the claim. On this machine, where a folder
    stands for the claim, nothing is made. `run_claims` puts this step into a pipeline.

    Args:
        name: What targets call the claim; it is named `<name>-<run>`.
        run: The id of the run.
        size: How large, `10Gi`.
        access_mode: `ReadWriteOnce`, `ReadWriteMany` or `ReadWriteOncePod`.
        claim: The name of the claim, for tasks that mount it.
        storage_class: The StorageClass that makes the volume; empty for the cluster's default one.
    """
    from pathlib import Path

    from stepworks.operations.make_claim import make_run_claim

    Path(claim).write_text(make_run_claim(name, run, size, access_mode, storage_class))
