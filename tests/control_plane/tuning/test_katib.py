"""The life of a search in a cluster: Katib's objects on a real API server, trials as Jobs on simulated nodes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from stepworks.errors import WorkloadFailedError
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import list_objects
from stepworks.kube.api.references import Selection
from stepworks.kube.builders.job import build_job
from stepworks.report.documents import TuningDocument
from stepworks.tuning.experiment import build_experiment, placeholder, trial_template
from stepworks.tuning.katib import tune_in_cluster
from stepworks.tuning.result import best_parameters
from stepworks.tuning.spec import tuning_spec
from testbed.bed import Bed
from tests.control_plane.jobs import RUN, played
from tests.control_plane.pods import holding, pods
from tests.control_plane.tuning.katib import Katib, install
from tests.waiting import wait_for

SPEC = tuning_spec(
    space={
        "rate": {"type": "double", "minimum": 0.1, "maximum": 0.9},
        "depth": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    objective={"metric": "loss", "goal": "minimize"},
    trials=3,
    failed_trials=1,
)


@pytest.fixture(scope="module", autouse=True)
def katib_kinds(bed: Bed) -> None:
    install(bed)


@pytest.fixture
def katib(bed: Bed, cluster: Cluster) -> Katib:
    return Katib(bed, cluster)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as made:
        yield made


def experiment(outcome: str) -> dict[str, Any]:
    arguments = (f"--rate={placeholder('rate')}", f"--depth={placeholder('depth')}")
    job = build_job(played(outcome, arguments=arguments), name="trial", run=RUN)
    del job["metadata"]["name"]
    return build_experiment(SPEC, trial_template(job), name="tune", run=RUN)


def search(cluster: Cluster, outcome: str = "succeeded", timeout: float = 60) -> TuningDocument:
    """What the step does."""
    return tune_in_cluster(cluster, SPEC, experiment(outcome), run=RUN, timeout=timeout, scheduling_timeout=20)


def begun(katib: Katib) -> Any:
    (made,) = wait_for("the Experiment is there", katib.experiments)
    return made


def all_gone(cluster: Cluster) -> None:
    # The garbage collector looks for new kinds, as Katib's are here, every 30 seconds.
    wait_for("the trials and their pods are gone", lambda: not holding(cluster), 90)


def test_a_search_to_its_end(cluster: Cluster, katib: Katib, pool: ThreadPoolExecutor) -> None:
    found: Future[TuningDocument] = pool.submit(search, cluster)
    made = begun(katib)
    names = [katib.start_trial(made, n, rate=f"0.{n}", depth=str(n)) for n in (1, 2, 3)]
    wait_for("their pods have succeeded", lambda: len(pods(cluster, "Succeeded")) == 3)
    arguments = {tuple(each["spec"]["containers"][0]["args"]) for each in pods(cluster)}
    assert arguments == {(f"--rate=0.{n}", f"--depth={n}") for n in (1, 2, 3)}
    katib.end_trial(names[0], loss=0.5)
    katib.end_trial(names[1], loss=0.2)
    katib.end_trial(names[2], "MetricsUnavailable")
    assert not found.done()
    katib.end_experiment("tune-run-1", "Succeeded", "ExperimentMaxTrialsReached")
    document = found.result(30)
    assert [trial.state for trial in document.trials] == ["succeeded", "succeeded", "without_metrics"]
    assert (document.best, document.ended_by) == (names[1], "all trials are done")
    assert best_parameters(document) == {"rate": 0.2, "depth": 2}


def test_a_search_that_failed_is_a_failure_and_holds_nothing(
    cluster: Cluster, katib: Katib, pool: ThreadPoolExecutor
) -> None:
    found = pool.submit(search, cluster, "running")
    made = begun(katib)
    names = [katib.start_trial(made, n, rate=f"0.{n}", depth=str(n)) for n in (1, 2)]
    wait_for("their pods run", lambda: len(pods(cluster, "Running")) == 2)
    katib.end_trial(names[0], "Failed")
    katib.end_experiment("tune-run-1", "Failed", "ExperimentFailed")
    with pytest.raises(WorkloadFailedError, match="The Experiment tune-run-1 failed"):
        found.result(30)
    assert not katib.experiments()
    all_gone(cluster)


def test_a_search_without_end_is_ended(cluster: Cluster, katib: Katib, pool: ThreadPoolExecutor) -> None:
    found = pool.submit(search, cluster, "running", 5)
    katib.start_trial(begun(katib), 1, rate="0.1", depth="1")
    with pytest.raises(WorkloadFailedError, match="was not finished after 5 seconds"):
        found.result(60)
    assert not katib.experiments()
    all_gone(cluster)


def test_a_retried_step_takes_up_the_search(cluster: Cluster, katib: Katib, pool: ThreadPoolExecutor) -> None:
    first = pool.submit(search, cluster)
    uid = begun(katib)["metadata"]["uid"]
    second = pool.submit(search, cluster)
    made = begun(katib)
    assert made["metadata"]["uid"] == uid
    katib.end_trial(katib.start_trial(made, 1, rate="0.4", depth="4"), loss=0.1)
    katib.end_experiment("tune-run-1", "Succeeded", "ExperimentGoalReached")
    assert first.result(30) == second.result(30)
    assert first.result().ended_by == "a trial reached the target"
    assert len(list_objects(cluster, Selection("kubeflow.org/v1beta1", "Trial"))) == 1
