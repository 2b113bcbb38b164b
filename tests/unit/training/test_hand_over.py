"""What a step hands over of a run that its own loop trained, and what it says where there is nothing."""

from pathlib import Path

import pytest

from stepworks.errors import NotFoundError
from stepworks.report.documents import TrainingDocument
from stepworks.training.spec import TrainingSpec
from stepworks.training.step import hand_over
from stepworks.training.workspace import Workspace

SPEC = TrainingSpec(entrypoint="team.mine:train", settings={"rate": 0.1})


def test_a_model_that_is_not_there_is_no_matter_of_storage(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no folder .*model(?s:.*)same claim") as caught:
        hand_over(SPEC, Workspace(tmp_path / "run"), tmp_path / "model", tmp_path / "training")
    assert "storage" not in str(caught.value)


def test_the_document_of_a_loop_of_ones_own_says_what_is_known_and_no_more(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "run")
    workspace.model.mkdir(parents=True)
    (workspace.model / "weights").touch()
    assert hand_over(SPEC, workspace, tmp_path / "model", tmp_path / "training") == {}
    assert (tmp_path / "model" / "weights").exists()
    document = TrainingDocument.read(tmp_path / "training")
    assert document == TrainingDocument(model="team.mine:train", settings={"rate": "0.1"})
    assert (document.device, document.parameters, document.stopped_by, document.best) == (None, None, None, None)
