"""Delete what the run made."""

from stepworks.kubeflow.component import component


@component("cpu")
def clean_up_run(run: str, objects: bool, folders: list[str]) -> None:
    """Delete what the run made in the cluster, by the run's label, and the run's own folders in claims that stay.

    It is the exit step of `run_claims`, and runs whether the run succeeded or not. Running it again is harmless.
    Besides claims it deletes Jobs, JobSets, TrainJobs, the jobs of the training operator, InferenceServices,
    ConfigMaps and Secrets; what carries the label `stepworks.dev/keep: "true"` stays. Kinds that the cluster does not
    know are skipped, and so are those that its ServiceAccount may neither list nor create, since the run made none; for
    the others it needs the verbs list and delete.

    Args:
        run: The id of the run.
        objects: Whether the run made objects in the cluster: claims, Jobs and the like.
        folders: Where the run has a folder that is named by its id: mount paths of claims that stay, or folders below.
    """
    from stepworks.operations.clean_up import clean_up

    clean_up(run, folders, objects=objects)
