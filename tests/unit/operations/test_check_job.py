"""What is refused of a Job when its pipeline is built, before anything runs."""

from pathlib import Path
from typing import Any

import pytest

from stepworks.errors import ConfigurationError
from stepworks.known import Later
from stepworks.kubeflow.pipeline import load_pipeline
from stepworks.operations.check_job import check_job
from stepworks.operations.in_cluster import TARGET_VARIABLE

TARGET = Path(__file__).parents[3] / "targets" / "a100.yaml"
HERE = {"role": "training"}
PIPELINE = """
from stepworks.components.operations.run_job.component import run_job
from stepworks.kubeflow.pipeline import pipeline
from stepworks.kubeflow.place import place
from stepworks.kubeflow.placement_of import placement_of

@pipeline(version="1.0.0")
def convert(rows: int = 3):
    given = dict(name="convert", run="r", image="team/convert:1", placement=placement_of("training"))
    place(run_job(**{**given, %s}), "effects")
"""


def refused(given: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as raised:
        check_job(given)
    return str(raised.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"name": "Hello_World"}, "the name 'Hello_World'"),
        ({"name": ""}, "the name ''"),
        ({"active_deadline_seconds": 0}, "active_deadline_seconds"),
        ({"parallelism": 2, "completions": 1}, "no more pods run at once"),
        ({"permanent_exit_codes": [0]}, "permanent_exit_codes.0"),
        ({"image": "no image"}, "no reference of an image"),
        ({"environment": {"1A": "b"}}, "environment"),
        ({"secrets": [{"nam": "a"}]}, "secrets.0"),
        ({"termination_grace_period_seconds": -1}, "termination_grace_period_seconds"),
    ],
)
def test_what_makes_no_job_is_refused(given: dict[str, Any], told: str) -> None:
    assert told in refused({"placement": HERE, **given})


def test_what_is_known_later_is_left_to_the_run() -> None:
    text, number = Later("the parameter a", "STRING"), Later("the parameter n", "NUMBER_INTEGER")
    check_job(
        {
            "placement": HERE,
            "command": ["convert", text],
            "environment": {"A": text},
            "permanent_exit_codes": [number, 3],
            "config_maps": [{"name": text, "mount_path": "/etc/a"}],
        }
    )
    check_job({})


def test_the_role_of_a_local_run_is_looked_up_where_a_target_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    check_job({"placement": {"role": "trainig"}})  # nobody knows which cluster it will be
    monkeypatch.setenv(TARGET_VARIABLE, str(TARGET))
    check_job({"placement": HERE})
    assert "no placement for the role trainig" in refused({"placement": {"role": "trainig"}})
    assert "cannot mount them" in refused({"placement": {**HERE, "claims": ["scratch"]}})


def test_a_pipeline_with_a_wrong_job_cannot_be_built(tmp_path: Path) -> None:
    (tmp_path / "fine.py").write_text(PIPELINE % "'completions': rows")
    load_pipeline(str(tmp_path / "fine.py")).build(None)
    (tmp_path / "wrong.py").write_text(PIPELINE % "'name': 'Convert'")
    with pytest.raises(ConfigurationError, match="cannot be named") as raised:
        load_pipeline(str(tmp_path / "wrong.py")).build(None)
    assert raised.value.__notes__ == ["It is the task run-job; nothing was started."]
