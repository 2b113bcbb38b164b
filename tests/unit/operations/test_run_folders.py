"""The folder that a run has in a claim which outlives it."""

import os
from pathlib import Path

import pytest

from stepworks.components.operations.make_folder.component import make_folder
from stepworks.errors import ConfigurationError, ResourceError
from stepworks.operations.run_folders import delete_folder, make_run_folder, run_folder
from stepworks.supervisor.supervisor import Supervisor

RUN = "0f8d5a52-3b0e-4c41-9f0d-0a4bb6d2a111"


@pytest.fixture(autouse=True)
def no_local_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEPWORKS_SUPERVISOR", raising=False)


def test_the_folder_of_a_run_is_named_by_its_id_and_made_once(tmp_path: Path) -> None:
    for _ in range(2):
        make_folder.python_func(parent=str(tmp_path / "scratch"), run=RUN, folder=str(tmp_path / "output"))
    assert (tmp_path / "output").read_text() == str(tmp_path / "scratch" / RUN)
    assert (tmp_path / "scratch" / RUN).is_dir()
    assert run_folder(str(tmp_path / "scratch"), RUN) == tmp_path / "scratch" / RUN


def test_it_can_be_written_by_whichever_user_a_pod_has(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        make_run_folder(str(tmp_path), RUN)
    finally:
        os.umask(before)
    assert (tmp_path / RUN).stat().st_mode & 0o777 == 0o777


@pytest.mark.parametrize("run", ["", "..", "a/b", "{{$.pipeline_job_uuid}}"])
def test_what_is_no_id_is_no_folder(run: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="id of the run cannot be used"):
        run_folder(str(tmp_path), run)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="for the run cannot be made") as raised:
        make_run_folder(str(tmp_path / "file"), RUN)
    assert "place(..., role, mounts=[...])" in raised.value.what_to_do


def test_on_a_laptop_it_is_in_the_folder_of_the_claim_and_steps_are_told_the_path_of_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Supervisor(tmp_path / "logs", claims={"/mnt/scratch": tmp_path / "scratch"}) as supervisor:
        for name, value in supervisor.environment().items():
            monkeypatch.setenv(name, value)
        assert make_run_folder("/mnt/scratch", RUN) == f"/mnt/scratch/{RUN}"
        assert run_folder("/mnt/scratch", RUN) == tmp_path / "scratch" / RUN
    assert (tmp_path / "scratch" / RUN).is_dir()


def test_a_folder_that_is_no_folder_is_not_deleted_and_told(tmp_path: Path) -> None:
    (tmp_path / RUN).write_text("a file")
    with pytest.raises(ResourceError, match="cannot be deleted"):
        delete_folder(tmp_path / RUN)
    assert not delete_folder(tmp_path / "absent")
