"""Another number of processes, or another strategy, takes the same samples in the same order."""

from pathlib import Path
from typing import Any

import pytest
import torch

from stepworks.report.documents import TrainingDocument
from stepworks.training.workspace import Workspace
from tests.training.conftest import Start
from tests.training.ranks import losses, outcome_of, resumptions, small_spec, steps_taken
from tests.training.small import Small


def test_a_run_goes_on_with_another_number_of_processes_and_another_strategy(tmp_path: Path, start: Start) -> None:
    """Weights, moments and schedule are the same: the losses are, but for the order of sums. Dropout would differ."""
    alone = start(small_spec(tmp_path, dropout=0.0), tmp_path / "alone", 1)
    assert alone.wait() == [0], alone.logs()
    workspace = Workspace(tmp_path / "run")
    for world, strategy, fault in ((2, "fsdp", "TERM@train:3"), (1, "none", "TERM@train:4"), (4, "ddp", "")):
        spec = small_spec(tmp_path, dropout=0.0, strategy=strategy)
        ranks = start(spec, workspace.root, world, fault)
        assert ranks.wait() == [75 if fault else 0] * world, ranks.logs()
    assert "was written by" in ranks.logs()
    assert steps_taken(workspace) == list(range(1, 16))
    assert [lost for _, lost in resumptions(workspace)] == [0, 0]
    assert losses(workspace) == pytest.approx(losses(alone.workspace), rel=1e-5)


def test_more_processes_than_samples_to_share_out(tmp_path: Path, start: Start) -> None:
    spec = small_spec(tmp_path, samples=7, batch_size=4, strategy="fsdp")
    ranks = start(spec, tmp_path / "run", 4)
    assert ranks.wait() == [0] * 4, ranks.logs()
    assert steps_taken(ranks.workspace) == [1, 2, 3]


@pytest.mark.parametrize(
    ("world", "changed", "message"),
    [
        (2, {"batch_size": 9}, "9 samples, 2 processes"),
        (2, {"strategy": "none"}, "strategy none, 2 processes"),
        (1, {"strategy": "fsdp"}, "strategy fsdp, 1 process"),
        (2, {"accumulation": 7}, "6 samples a process, accumulation 7"),
    ],
)
def test_what_does_not_fit_the_processes_is_refused(
    tmp_path: Path, start: Start, world: int, changed: dict[str, object], message: str
) -> None:
    ranks = start(small_spec(tmp_path, **changed), tmp_path / "run", world)
    assert ranks.wait() == [1] * world
    outcome = outcome_of(ranks.workspace)
    assert outcome.error is not None
    assert outcome.error["type"] == "ConfigurationError"
    assert message in outcome.error["received"]
    assert outcome.permanent


class Rated(Small):
    """Also has a figure of its own."""

    def figures(self, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"sign": (outputs > 0) == (targets > 0)}


def rated(*, dropout: float, **_further: Any) -> Rated:
    return Rated(dropout)


def test_a_process_without_samples_to_validate_on_gets_the_figures_of_the_others(tmp_path: Path, start: Start) -> None:
    spec = small_spec(tmp_path, dropout=0.0, batch_size=60, monitor="validation_sign", timeout_seconds=10)
    spec = spec.model_copy(update={"model": f"{__name__}:rated"})
    documents = []
    for world in (1, 2):  # 30 samples are one batch
        ranks = start(spec, tmp_path / f"run-{world}", world)
        assert ranks.wait() == [0] * world, ranks.logs()
        documents.append(TrainingDocument.read(ranks.workspace.document))
    alone, shared = ([epoch.figures["validation_sign"] for epoch in document.epochs] for document in documents)
    assert alone == shared
