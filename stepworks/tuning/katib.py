"""A search in a cluster, by Katib."""

from __future__ import annotations

from collections.abc import Callable

from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import list_objects
from stepworks.kube.api.references import Selection
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.rules import EXPERIMENT_SUCCEEDED
from stepworks.kube.runs.lifetime import SCHEDULING_SECONDS, STEP_SETTING, run_to_end
from stepworks.report.documents import TuningDocument
from stepworks.tuning.experiment import API_VERSION, EXPERIMENT_LABEL
from stepworks.tuning.result import read_tuning
from stepworks.tuning.spec import TuningSpec


def tune_in_cluster(
    cluster: Cluster,
    spec: TuningSpec,
    experiment: Manifest,
    *,
    run: str,
    timeout: float,
    scheduling_timeout: float = SCHEDULING_SECONDS,
    before_making: Callable[[], None] | None = None,
) -> TuningDocument:
    """Search by Katib, and read what every trial came to.

    A retried step takes up the Experiment of the earlier attempt. When the step fails or is ended, the Experiment is
    deleted, and its trials with it: Katib cannot suspend one.

    Args:
        cluster: Where.
        spec: What is searched for.
        experiment: As `build_experiment` builds it from the spec.
        run: The run's id.
        timeout: How long the search may take, in seconds.
        scheduling_timeout: How long trials may wait for room in the cluster, in seconds.
        before_making: Called each time before the Experiment is made; not where one is adopted.

    Returns:
        All trials.

    Raises:
        AdmissionError: Katib is not installed, or refuses the Experiment.
        AccessDeniedError: A permission is missing.
        WorkloadFailedError: More trials failed than the spec allows, or the search did not end in time.
        ClusterError: The API server fails or does not answer.
        RunError: A trial was given other parameters than the search space has.
    """
    ended = run_to_end(
        cluster,
        experiment,
        run=run,
        until=EXPERIMENT_SUCCEEDED,
        timeout=timeout,
        on_failure="delete",
        scheduling_timeout=scheduling_timeout,
        scheduling_setting=STEP_SETTING,
        before_making=before_making,
    )
    label = f"{EXPERIMENT_LABEL}={ended['metadata']['name']}"
    return read_tuning(spec, ended, list_objects(cluster, Selection(API_VERSION, "Trial", labels=label)))
