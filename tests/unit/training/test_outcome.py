import errno
from pathlib import Path

import pytest

from stepworks.errors import ConfigurationError, DataError, ResourceError, StepworksError, TrainingError
from stepworks.training import outcome as outcomes
from stepworks.training.outcome import Outcome, failure
from stepworks.training.spec import TrainingSpec
from stepworks.training.workspace import Workspace

OWN = failure(TrainingError("own"), rank=1)
LOST = failure(RuntimeError("Connection closed by peer"), rank=0, lost_peer=True)
COMPLETED, PREEMPTED = Outcome(state="completed"), Outcome(state="preempted", committed_step=4)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    TrainingSpec(command=["true"]).write(workspace.spec)
    return workspace


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ([LOST, OWN], OWN),
        ([OWN, LOST], OWN),
        ([OWN, failure(DataError("second"), rank=0)], OWN),
        ([OWN, COMPLETED], OWN),
        ([PREEMPTED, OWN], OWN),
        ([PREEMPTED, LOST], LOST),
        ([PREEMPTED, COMPLETED], PREEMPTED),
    ],
)
def test_what_says_most_about_the_end_is_kept(workspace: Workspace, written: list[Outcome], kept: Outcome) -> None:
    for outcome in written:
        outcomes.write(workspace, outcome)
    assert outcomes.read(workspace) == kept


@pytest.mark.parametrize("content", [b"", b"{", b'{"state": "unknown"}'])
def test_an_outcome_that_cannot_be_read_is_none(workspace: Workspace, content: bytes) -> None:
    assert outcomes.read(workspace) is None
    workspace.outcome.write_bytes(content)
    assert outcomes.read(workspace) is None


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (ConfigurationError("a"), True),
        (DataError("a"), True),
        (TrainingError("a"), True),
        (ValueError("a"), True),
        (ResourceError("a"), False),
    ],
)
def test_which_failures_another_attempt_would_repeat(error: Exception, permanent: bool) -> None:
    assert failure(error, rank=0).permanent is permanent
    assert not failure(error, rank=0, lost_peer=True).permanent


def test_the_error_comes_back_as_it_was(workspace: Workspace) -> None:
    error = DataError("problem", received="received", expected="expected", what_to_do="what to do")
    outcomes.write(workspace, failure(error, rank=0))
    outcome = outcomes.read(workspace)
    assert outcome is not None
    with pytest.raises(DataError) as caught:
        outcome.raise_error()
    assert str(caught.value) == str(error)


@pytest.mark.parametrize(("state", "code"), [("completed", 0), ("failed", 1), ("preempted", 75), ("stopped", 75)])
def test_the_exit_code_says_whether_to_try_again(state: outcomes.State, code: int) -> None:
    assert Outcome(state=state).exit_code == code


def test_a_permanent_error_is_raised_until_the_spec_is_another(workspace: Workspace) -> None:
    outcomes.refuse_if_permanent(workspace)
    outcomes.write(workspace, OWN)
    with pytest.raises(StepworksError, match=f"delete {workspace.permanent_error}"):
        outcomes.refuse_if_permanent(workspace)
    TrainingSpec(command=["false"]).write(workspace.spec)
    outcomes.refuse_if_permanent(workspace)
    assert not workspace.permanent_error.exists()


def test_a_lost_process_leaves_no_mark(workspace: Workspace) -> None:
    outcomes.write(workspace, LOST)
    assert not workspace.permanent_error.exists()


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (OSError(errno.ESTALE, "Stale file handle"), False),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), False),
        (TimeoutError("timed out"), False),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), True),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), False),
        (RuntimeError("CUDA error: device-side assert triggered"), True),
    ],
)
def test_what_the_machine_refuses_is_not_the_fault_of_the_code(error: Exception, permanent: bool) -> None:
    outcome = failure(error, rank=0)
    assert outcome.permanent is permanent
    assert outcome.error is not None
    assert outcome.error["type"] == ("TrainingError" if permanent else "ResourceError")
    assert str(error) in outcome.error["received"]


def test_a_label_that_a_gpu_refuses_is_told_as_such() -> None:
    outcome = failure(RuntimeError("CUDA error: device-side assert triggered"), rank=0)
    assert outcome.error is not None
    assert "label" in outcome.error["what_to_do"]
