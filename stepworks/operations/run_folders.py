"""A run's own folder in a claim that outlives it, in a cluster and on a laptop."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath

from stepworks.errors import ResourceError
from stepworks.kube.runs.belonging import check_run
from stepworks.supervisor.client import local_path


def run_folder(parent: str, run: str) -> Path:
    """Where the folder of a run is on this machine; it may not be there yet.

    Args:
        parent: What it is in, as a step in a cluster sees it: a claim's mount path, or a folder below.
        run: The run's id, and the folder's name.

    Raises:
        ConfigurationError: The id is empty, is a placeholder that nobody filled in, or has a slash.
        ResourceError: The supervisor of a local run does not answer.
    """
    return local_path(_join(parent, run))


def make_run_folder(parent: str, run: str) -> str:
    """Make the folder of a run where an earlier attempt has not.

    Args:
        parent: What it is made in; see `run_folder`.
        run: The run's id.

    Returns:
        The folder as steps in a cluster see it; each finds it on its machine by `local_path`.

    Raises:
        ConfigurationError: See `run_folder`.
        ResourceError: It cannot be made.
    """
    make_folder(folder := run_folder(parent, run), purpose="the run")
    print(f"The run has the folder {folder}.")  # noqa: T201
    return _join(parent, run)


def _join(parent: str, run: str) -> str:
    return str(PurePosixPath(parent) / check_run(run))


def make_folder(folder: Path, *, purpose: str) -> None:
    """Make a folder that pods with other users than this step's write to, where it is not there yet.

    Args:
        folder: The folder; what it is in is made, too.
        purpose: What it is for, to be told in an error: "the run".

    Raises:
        ResourceError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Whoever can mount the claim can write there anyway.
        folder.chmod(0o777)
    except OSError as error:
        raise ResourceError(
            f"The folder {folder} for {purpose} cannot be made",
            received=f"{type(error).__name__}: {error.strerror}",
            expected="a claim that this step mounts and may write to",
            what_to_do="Mount the claim in the step: place(..., role, mounts=[...]), and let its user write to it.",
        ) from error


def delete_folder(folder: Path) -> bool:
    """Delete a folder with all that is in it.

    Returns:
        Whether it was there.

    Raises:
        ResourceError: It cannot be deleted.
    """
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ResourceError(
            f"The folder {folder} cannot be deleted",
            received=f"{type(error).__name__}: {error.strerror}",
            what_to_do="Give the run's user the right to write to the claim, and delete the folder by hand.",
        ) from error
    return True
