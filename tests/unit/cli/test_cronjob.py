"""`stepworks cronjob` as a user types it: the manifest, the same each time, and one message for each mistake."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from stepworks.cli.main import app
from stepworks.errors import StepworksError
from stepworks.kubeflow.pipeline import load_pipeline

ROOT = Path(__file__).parents[3]
PIPELINE = "tabular_train_and_deploy"
VERSION = load_pipeline(PIPELINE).version
RUN = ["cronjob", "pipeline", PIPELINE, "--version", VERSION, "-t", "a100", "--schedule", "0 3 * * MON-FRI"]
JOB = ["cronjob", "job", "nightly", "--image", "cpu", "-t", "a100", "--schedule", "@daily"]


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def written(*arguments: str) -> list[dict[str, Any]]:
    ended = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return list(yaml.safe_load_all(ended.stdout))


def test_the_runs_of_a_pipeline() -> None:
    config_map, cron_job = written(*RUN, "-p", "epochs=3", "--time-zone", "Europe/Zurich")
    compiled = (ROOT / "compiled" / PIPELINE / VERSION / "a100.yaml").read_text()
    assert config_map["metadata"] == {"name": "tabular-train-and-deploy-compiled"}
    assert config_map["data"] == {"a100.yaml": compiled}
    assert cron_job["metadata"] == {"name": "tabular-train-and-deploy"}
    assert cron_job["spec"]["timeZone"] == "Europe/Zurich"
    job = cron_job["spec"]["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "registry.example.com/stepworks/cpu:0.1.0"
    assert [*container["command"], *container["args"]] == [
        *["stepworks", "run", PIPELINE, "--version", VERSION, "--target", "a100"],
        *["--compiled", "/etc/stepworks/compiled", "--experiment", "schedules"],
        *["--host", "http://ml-pipeline.kubeflow.svc.cluster.local:8888", "--parameter", "epochs=3"],
    ]
    folder = f"/etc/stepworks/compiled/{PIPELINE}/{VERSION}"
    assert {"name": config_map["metadata"]["name"], "mountPath": folder} in container["volumeMounts"]
    # Another pod would start another run, while the first one goes on.
    assert job["backoffLimit"] == 0
    assert "podFailurePolicy" not in job
    assert "activeDeadlineSeconds" not in pod


def test_a_kubeflow_with_several_users_is_shown_the_token_of_the_pod() -> None:
    login = ["--token-from", "in-cluster", "--namespace", "team-a", "--service-account", "default-editor"]
    config_map, cron_job = written(*RUN, *login)
    assert config_map["metadata"]["namespace"] == cron_job["metadata"]["namespace"] == "team-a"
    pod = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "default-editor"
    arguments = pod["containers"][0]["args"]
    assert arguments[-4:] == ["--namespace", "team-a", "--token-from", "in-cluster"]
    (token,) = (each for each in pod["volumes"] if "projected" in each)
    assert token["projected"]["sources"][0]["serviceAccountToken"]["audience"] == "pipelines.kubeflow.org"
    mounted = next(each for each in pod["containers"][0]["volumeMounts"] if each["name"] == token["name"])
    assert mounted["mountPath"] == "/var/run/secrets/kubeflow/pipelines"


def test_a_target_without_images_installs_first(tmp_path: Path) -> None:
    text = (ROOT / "targets" / "a100.yaml").read_text()
    (tmp_path / "a100.yaml").write_text(f"{text}\ninstall: stepworks==0.1.0\n")
    compiled = tmp_path / "compiled" / "rows" / "0.1.0"
    compiled.mkdir(parents=True)
    (compiled / "a100.yaml").write_text((ROOT / "tests" / "data" / "kfp_recorded_pipeline.yaml").read_text())
    options = ["--version", "0.1.0", "-t", "a100", "--schedule", "@daily", "-p", "rows=4"]
    folders = ["--targets", str(tmp_path), "--compiled", str(tmp_path / "compiled")]
    _, cron_job = written("cronjob", "pipeline", "rows", *options, *folders)
    container = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    assert container["command"][0] == "sh"
    assert "stepworks[cpu-image]==0.1.0" in container["command"][-1]
    assert container["args"][:3] == ["stepworks", "run", "rows"]


def test_any_job() -> None:
    options = ["--role", "training", "-e", "SIZE=3=3", "-m", "registry", "--concurrency", "Replace", "--suspend"]
    limits = ["--keep-succeeded", "0", "--keep-failed", "1", "--starting-deadline", "60", "--deadline", "600"]
    (cron_job,) = written(*JOB, *options, *limits, "--", "sh", "-c", "echo $SIZE")
    timing = {key: value for key, value in cron_job["spec"].items() if key != "jobTemplate"}
    assert timing == {
        "schedule": "@daily",
        "concurrencyPolicy": "Replace",
        "suspend": True,
        "successfulJobsHistoryLimit": 0,
        "failedJobsHistoryLimit": 1,
        "startingDeadlineSeconds": 60,
    }
    job = cron_job["spec"]["jobTemplate"]["spec"]
    assert job["activeDeadlineSeconds"] == 600
    pod = job["template"]["spec"]
    assert pod["nodeSelector"] == {"gpu-type": "a100-80gb"}
    (container,) = pod["containers"]
    assert container["image"] == "registry.example.com/stepworks/cpu:0.1.0"  # the target's `cpu`
    assert container["command"] == ["sh", "-c", "echo $SIZE"]
    assert container["env"] == [{"name": "SIZE", "value": "3=3"}]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {"name": "stepworks-registry", "mountPath": "/mnt/registry"} in container["volumeMounts"]


def test_the_same_bytes_each_time_in_a_file_or_in_the_terminal(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, RUN).stdout
    path = tmp_path / "cron-job.yaml"
    ended = CliRunner().invoke(app, [*RUN, "-o", str(path)])
    assert path.read_text() == shown
    assert ended.stdout == f"{path}  written: kubectl apply --server-side -f {path}\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([*JOB[:-1], "0 3 * *"], ["'0 3 * *' has 4 fields", "'0 3 * * *' for each night"]),
        ([*JOB, "--time-zone", "Europe/Zuric"], ["did you mean Europe/Zurich?"]),
        ([*JOB, "--concurrency", "Never"], ["--concurrency", "Never"]),
        ([*JOB, "--starting-deadline", "9"], ["--starting-deadline", "greater than or equal to 10"]),
        ([*JOB, "--role", "huge"], ["no placement for the role huge", "training"]),
        ([*JOB, "--mount", "absent"], ["no claim absent", "registry"]),
        ([*JOB, "-e", "SIZE"], ["--env SIZE", "NAME=VALUE"]),
        ([*JOB, "-e", "A-B=1"], ["environment.A-B"]),
        ([*JOB, "--namespace", "Team"], ["'Team' cannot be the name of a Namespace"]),
        ([*JOB, "--service-account", "A_b"], ["'A_b' cannot be the name of a ServiceAccount"]),
        ([*RUN, "--name", "Tabular"], ["'Tabular' cannot be the name of a CronJob"]),
        (["cronjob", "job", "n" * 53, *JOB[3:]], ["53 characters", "up to 52"]),
        (["cronjob", "job", "nightly", "--image", "Tools:1", *JOB[5:]], ["'Tools:1' is no reference of an image"]),
        (["cronjob", "job", "nightly", "--image", "tools", *JOB[5:]], ["no image tools", "one of cpu", "tools:1.0"]),
        (["cronjob", "job", "nightly", "--image", "cpu", "-t", "h100", *JOB[7:]], ["no target h100", "a100"]),
        (["cronjob", "job", "nightly", "--image", "cpu", "-t", "vertex", *JOB[7:]], ["Pods need a Kubernetes cluster"]),
        ([*RUN, "-p", "epochs=three"], ["epochs", "'three'", "int"]),
        ([*RUN, "--token-from", "in-cluster"], ["no namespace", "--namespace team-a"]),
        ([*RUN, "--token-from", "env:TOKEN"], ["--token-from env:TOKEN", "in-cluster"]),
        ([*RUN, "--host", "localhost"], ["a host that is no address of the form https://", "--host http(s)://"]),
        ([*JOB, "-o", "."], ["--output", "is a directory"]),
        (["cronjob", "pipeline", PIPELINE, "--version", "9.9.9", *RUN[5:]], ["no version 9.9.9", VERSION]),
    ],
)
def test_a_mistake_is_exit_code_2_and_one_message(arguments: list[str], told: list[str]) -> None:
    ended = CliRunner().invoke(app, arguments)
    code = ended.exception.exit_code if isinstance(ended.exception, StepworksError) else ended.exit_code
    assert code == 2
    assert "kind: CronJob" not in ended.stdout
    for text in told:
        assert text in f"{ended.output}{ended.exception}"
