from pathlib import Path

import pytest

from stepworks.errors import ConfigurationError, NotFoundError, ParameterError, UserError
from stepworks.kubeflow.delivery.environment import Environment, deliver, plan
from stepworks.kubeflow.delivery.server import connect
from stepworks.kubeflow.release import ReleasedFile, ReleaseIndex, sha256_of
from tests.kfp_server import KfpServer

FILE = """
name: staging
login: {host: HOST}
target: a100
released_only: false
pipelines:
  rows: [0.9.0]
schedules:
  - name: nightly
    pipeline: rows
    version: 0.10.0
    cron: "0 3 * * *"
    parameters: {rows: 4}
"""


def write(folder: Path, text: str, host: str = "http://127.0.0.1:9") -> Path:
    path = folder / "staging.yaml"
    path.write_text(text.replace("HOST", host))
    return path


def deliver_all(environment: Environment, compiled: Path) -> list[str]:
    told: list[str] = []
    planned = plan(environment, compiled, Path("staging.yaml"))
    deliver(
        planned,
        connect(environment.login),
        lambda uploaded: told.append(f"{uploaded.version.name} {uploaded.outcome}"),
        lambda put, spec: told.append(f"{spec.name} {put.outcome}"),
    )
    return told


def test_an_environment_brings_its_versions_and_schedules(kfp: KfpServer, compiled: Path, tmp_path: Path) -> None:
    environment = Environment.read(write(tmp_path, FILE, kfp.url))
    assert deliver_all(environment, compiled) == ["0.9.0-a100 uploaded", "0.10.0-a100 uploaded", "nightly created"]
    before = kfp.writes()
    assert deliver_all(environment, compiled) == ["0.9.0-a100 unchanged", "0.10.0-a100 unchanged", "nightly unchanged"]
    assert kfp.writes() == before


def test_what_the_file_no_longer_names_stays(kfp: KfpServer, compiled: Path, tmp_path: Path) -> None:
    deliver_all(Environment.read(write(tmp_path, FILE, kfp.url)), compiled)
    shorter = FILE.partition("schedules:")[0]
    deliver_all(Environment.read(write(tmp_path, shorter, kfp.url)), compiled)
    assert len(kfp.enabled()) == 1
    assert not any(method == "DELETE" for method, _ in kfp.calls)


@pytest.mark.parametrize(
    ("old", "new", "kind", "told"),
    [
        ("rows: 4", "rows: four", ParameterError, "expected: int"),
        ("rows: 4", "row: 4", ParameterError, "no parameter row"),
        ("rows: 4", "rows: .nan", ParameterError, "nan"),
        ("[0.9.0]", "[0.8.0]", NotFoundError, "0.9.0, 0.10.0"),
        ("target: a100", "target: h100", NotFoundError, "h100"),
        ("released_only: false", "released_only: true", ConfigurationError, "stepworks release rows"),
    ],
)
def test_everything_is_checked_before_anything_is_written(
    kfp: KfpServer, compiled: Path, tmp_path: Path, old: str, new: str, kind: type[Exception], told: str
) -> None:
    environment = Environment.read(write(tmp_path, FILE.replace(old, new), kfp.url))
    with pytest.raises(kind) as error:
        plan(environment, compiled, Path("staging.yaml"))
    assert told.lower() in str(error.value).lower()
    notes = getattr(error.value, "__notes__", [])
    assert kind is not ParameterError or notes == ["It is in the schedule nightly of staging.yaml."]
    assert not kfp.calls


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('cron: "0 3 * * *"', "cron: every day", "staging.yaml:12"),
        ("[0.9.0]", "[latest]", "staging.yaml:7"),
        ("target: a100", "targets: a100", "staging.yaml:4"),
        ("    version: 0.10.0\n", "", "version"),
        ("name: nightly", "name: Nightly!", "staging.yaml:9"),
        ("{host: HOST}", "{host: HOST, token: secret}", "token"),
        ("name: staging", "name: production", "name: staging"),
        ("schedules:", "schedules: [", "not YAML"),
        ("target: a100", "target: a100\ntarget: mig", "comes twice"),
        ("name: nightly\n", "name: nightly\n    enabled: maybe\n", "enabled"),
    ],
)
def test_a_wrong_file_is_told_by_line_and_field(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in FILE
    with pytest.raises(ConfigurationError) as error:
        Environment.read(write(tmp_path, FILE.replace(old, new)))
    assert told in str(error.value)


def test_two_schedules_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nightly"):
        Environment.read(write(tmp_path, FILE + FILE.partition("schedules:\n")[2]))


def test_a_released_version_is_delivered_only_as_it_was_released(
    kfp: KfpServer, compiled: Path, tmp_path: Path
) -> None:
    index = ReleaseIndex()
    for version in ("0.9.0", "0.10.0"):
        content = (compiled / "rows" / version / "a100.yaml").read_bytes()
        entry = ReleasedFile(sha256=sha256_of(content), kfp="kfp-2.17.0", revision="0" * 40)
        index = index.with_file("rows", version, "a100", entry)
    index.write(compiled)
    environment = Environment.read(write(tmp_path, FILE.replace("released_only: false\n", ""), kfp.url))
    assert len(deliver_all(environment, compiled)) == 3
    with (compiled / "rows/0.9.0/a100.yaml").open("a") as file:
        file.write("# one more line\n")
    with pytest.raises(UserError, match="has changed"):
        plan(environment, compiled, Path("staging.yaml"))


def test_the_environments_of_this_repository_can_be_delivered(pytestconfig: pytest.Config) -> None:
    root = pytestconfig.rootpath
    files = sorted((root / "environments").glob("*.yaml"))
    assert files
    for path in files:
        assert plan(Environment.read(path), root / "compiled", path).files
