from pathlib import Path

import pytest

from stepworks.errors import ConfigurationError, DeliveryError, StepFailedError
from stepworks.kubeflow.delivery import runs
from stepworks.kubeflow.delivery.runs import TaskState, follow, start_run, task_states
from stepworks.kubeflow.delivery.server import Kubeflow
from stepworks.kubeflow.delivery.upload import Uploaded, upload
from stepworks.kubeflow.delivery.version_file import find_version_file
from tests.kfp_server import KfpServer


@pytest.fixture
def uploaded(kubeflow: Kubeflow, compiled: Path) -> Uploaded:
    return upload(kubeflow, find_version_file(compiled, "rows", target="a100"))


def task(name: str, state: str, *, message: str = "", seconds: int = 30, order: int = 0) -> dict[str, object]:
    """A task as the API has it in the details of a run."""
    begin = f"2026-11-24T03:{order:02}:00Z"
    over = state in {"SUCCEEDED", "FAILED", "SKIPPED"}
    return {
        "task_id": name,
        "display_name": name,
        "state": state,
        "create_time": begin,
        "start_time": begin,
        "end_time": f"2026-11-24T03:{order:02}:{seconds:02}Z" if over else "1970-01-01T00:00:00Z",
        "pod_name": f"pod-of-{name}",
        **({"error": {"code": 13, "message": message}} if message else {}),
    }


def play(kfp: KfpServer, states: list[tuple[str, list[dict[str, object]]]]) -> object:
    """A `sleep` that brings the one run there is to its next state."""
    coming = iter(states)

    def sleep(_: float) -> None:
        (run,) = kfp.runs.values()
        run["state"], details = next(coming)
        run["run_details"] = {"task_details": details}

    return sleep


def test_a_run_is_started_with_its_parameters(kfp: KfpServer, kubeflow: Kubeflow, uploaded: Uploaded) -> None:
    run = start_run(kubeflow, uploaded, {"rows": 7}, experiment="trials", service_account="team-sa")
    (kept,) = kfp.runs.values()
    assert kept["runtime_config"]["parameters"] == {"rows": 7}
    assert kept["service_account"] == "team-sa"
    assert kept["pipeline_version_reference"]["pipeline_version_id"] == uploaded.version.pipeline_version_id
    assert [each["display_name"] for each in kfp.experiments.values()] == ["trials"]
    assert kubeflow.run_url(run.run_id) == f"{kfp.url}/#/runs/details/{run.run_id}"


@pytest.mark.parametrize("kind", ["cut before", "cut after", "503"])
@pytest.mark.parametrize("path", ["^runs$", "^experiments$"])
def test_a_lost_answer_starts_one_run(
    kfp: KfpServer, kubeflow: Kubeflow, uploaded: Uploaded, path: str, kind: str
) -> None:
    kfp.fail("POST", path, kind)
    run = start_run(kubeflow, uploaded, {"rows": 7}, experiment="trials")
    assert list(kfp.runs) == [run.run_id]
    assert len(kfp.experiments) == 1


def test_what_the_server_refuses_is_told(kubeflow: Kubeflow, uploaded: Uploaded) -> None:
    with pytest.raises(ConfigurationError, match="requires type double or integer"):
        start_run(kubeflow, uploaded, {"rows": "four"}, experiment="trials")


def test_a_run_is_followed_to_its_end(kfp: KfpServer, kubeflow: Kubeflow, uploaded: Uploaded) -> None:
    run = start_run(kubeflow, uploaded, {"rows": 7}, experiment="trials")
    states = [
        ("RUNNING", [task("root-driver", "SUCCEEDED"), task("split", "RUNNING", order=1)]),
        ("RUNNING", [task("split", "RUNNING", order=1)]),
        ("RUNNING", [task("train", "RUNNING", order=2), task("split", "SUCCEEDED", order=1)]),
        ("SUCCEEDED", [task("train", "SKIPPED", order=2), task("split", "SUCCEEDED", order=1)]),
    ]
    shown: list[TaskState] = []
    follow(kubeflow, run.run_id, shown.append, sleep=play(kfp, states))
    assert [(each.name, each.state, each.seconds) for each in shown] == [
        ("split", "RUNNING", None),
        ("split", "SUCCEEDED", 30.0),
        ("train", "RUNNING", None),
        ("train", "SKIPPED", 30.0),
    ]


def test_a_failed_run_names_the_task_its_pod_and_the_place_to_look(
    kfp: KfpServer, kubeflow: Kubeflow, uploaded: Uploaded
) -> None:
    run = start_run(kubeflow, uploaded, {"rows": 7}, experiment="trials")
    states = [("FAILED", [task("split", "SUCCEEDED"), task("train", "FAILED", message="exit code 137", order=1)])]
    with pytest.raises(StepFailedError) as error:
        follow(kubeflow, run.run_id, lambda _: None, sleep=play(kfp, states))
    told = str(error.value)
    assert "train: exit code 137" in told
    assert "split" not in told
    assert "pod-of-train" in told
    assert run.run_id in told


def test_a_cancelled_run_is_no_success(kfp: KfpServer, kubeflow: Kubeflow, uploaded: Uploaded) -> None:
    run = start_run(kubeflow, uploaded, {"rows": 7}, experiment="trials")
    with pytest.raises(StepFailedError, match="was cancelled"):
        follow(kubeflow, run.run_id, lambda _: None, sleep=play(kfp, [("CANCELED", [])]))


def test_an_outage_while_following_is_survived(kfp: KfpServer, kubeflow: Kubeflow, uploaded: Uploaded) -> None:
    run = start_run(kubeflow, uploaded, {"rows": 7}, experiment="trials")
    kfp.fail("GET", "^runs/", "503", times=2)
    follow(kubeflow, run.run_id, lambda _: None, sleep=play(kfp, [("SUCCEEDED", [])]))


def test_a_long_outage_says_that_the_run_goes_on(
    kfp: KfpServer, kubeflow: Kubeflow, uploaded: Uploaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "OUTAGE_LOOKS", 3)
    run = start_run(kubeflow, uploaded, {"rows": 7}, experiment="trials")
    kfp.fail("GET", "^runs/", "503", times=8)
    follow(kubeflow, run.run_id, lambda _: None, sleep=play(kfp, [("RUNNING", [])] * 2 + [("SUCCEEDED", [])]))
    kfp.fail("GET", "^runs/", "503", times=99)
    with pytest.raises(DeliveryError, match="do not start it again") as error:
        follow(kubeflow, run.run_id, lambda _: None, sleep=lambda _: None)
    assert run.run_id in str(error.value)


def test_a_login_that_ends_while_following_says_that_the_run_goes_on(
    kfp: KfpServer, kubeflow: Kubeflow, uploaded: Uploaded
) -> None:
    run = start_run(kubeflow, uploaded, {"rows": 7}, experiment="trials")
    kfp.token = "another"
    with pytest.raises(ConfigurationError, match="401") as error:
        follow(kubeflow, run.run_id, lambda _: None, sleep=lambda _: None)
    assert any("The run goes on" in note for note in error.value.__notes__)


def test_a_start_without_an_answer_is_not_to_be_tried_blindly(
    kfp: KfpServer, kubeflow: Kubeflow, uploaded: Uploaded
) -> None:
    kfp.fail("POST", "^runs$", "cut after")
    kfp.fail("GET", "^runs$", "503", times=99)
    with pytest.raises(DeliveryError, match=r"Look at .* before you start it again"):
        start_run(kubeflow, uploaded, {"rows": 7}, experiment="trials")
    assert len(kfp.runs) == 1


def test_a_run_without_details_has_no_tasks(kubeflow: Kubeflow, uploaded: Uploaded) -> None:
    run = start_run(kubeflow, uploaded, {"rows": 7}, experiment="trials")
    assert task_states(kubeflow.run(run.run_id)) == []
