"""What the step `run_job` does: a Kubernetes Job to its end, and what it wrote as an artifact."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from stepworks.errors import ConfigurationError, DataError, ResourceError
from stepworks.files import write_atomically
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.builders.job import JobSpec, build_job
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.rules import JOB_COMPLETE
from stepworks.kube.runs.lifetime import STEP_SETTING, run_to_end
from stepworks.operations.run_folders import make_folder
from stepworks.placement.placeholders import PLACEHOLDER, RUN_PLACEHOLDER
from stepworks.placement.storage import SINGLE_NODE_MODES, Mount, mount_of

OUTPUT_VARIABLE = "STEPWORKS_OUTPUT"
"""Names the folder that a Job writes into, in its environment."""
RESULT_FILE = "result.json"
"""A file of that folder whose JSON object becomes metadata of the artifact."""
JOB_FILE = "job.json"
"""The finished Job as JSON, in the artifact of a Job that has no folder to write into."""
LARGEST_RESULT = 64 * 1024
"""In bytes: the metadata of an artifact is kept in a database, and shown on one page."""


def run_job(
    cluster: Cluster,
    spec: JobSpec,
    *,
    name: str,
    run: str,
    folder: str,
    output: Path,
    scheduling_timeout: float,
) -> dict[str, Any]:
    """Run a Job to its end and hand back what it wrote; a retried step takes up the Job of the earlier attempt.

    Args:
        cluster: Where.
        spec: What the Job runs and where.
        name: What it is called in the pipeline; its name in the cluster is `<name>-<run>`.
        run: The run's id.
        folder: The folder that the Job writes into, in a claim that the Job and this step mount at the same path. The
            Job finds it in the environment variable STEPWORKS_OUTPUT. Empty if it hands nothing back.
        output: Where the folder is copied to. Without a folder, the finished Job is written there as `job.json`.
        scheduling_timeout: How long the Job may wait for room in the cluster, in seconds.

    Returns:
        Metadata of the output: the Job's name, namespace and uid, and what is in `result.json` of the folder.

    Raises:
        ConfigurationError: Something cannot work and nothing was made: a name, the folder's claim, the placement.
        ClusterError: The Job did not complete; the message says why.
        DataError: The Job completed, and wrote nothing or a wrong `result.json`.
        ResourceError: The folder cannot be made or copied.
    """
    folder, spec = fill_in(folder, run), _filled_in(spec, run)
    if folder:
        refuse_unshared(folder, spec.mounts)
        spec = _with_output_variable(spec, folder)
    manifest = build_job(spec, name=name, run=run)
    if folder:
        make_folder(Path(folder), purpose="the Job's output")
    job = run_to_end(
        cluster,
        manifest,
        run=run,
        until=JOB_COMPLETE,
        # The Job's own deadline comes first, so that the Job says why it ended.
        timeout=spec.active_deadline_seconds + scheduling_timeout,
        on_failure="suspend",
        scheduling_timeout=scheduling_timeout,
        scheduling_setting=STEP_SETTING,
        before_making=partial(_forget_result, Path(folder)) if folder else None,
    )
    identity = {key: job["metadata"][key] for key in ("namespace", "uid")}
    metadata = {"job": job["metadata"]["name"], **identity}
    if not folder:
        _write_job(job, output)
        return metadata
    return {**hand_back(Path(folder), output), **metadata}


def fill_in(text: str, run: str) -> str:
    """Put the run's id where Kubeflow Pipelines left its placeholder.

    Kubeflow Pipelines fills it in where it is all of a value, and leaves it inside of a path, a list or a mapping.

    Raises:
        ConfigurationError: Another placeholder is left, whose value is not known here.
    """
    filled = text.replace(RUN_PLACEHOLDER, run)
    left = PLACEHOLDER.search(filled)
    if left:
        raise ConfigurationError(
            "Kubeflow Pipelines has left a placeholder in what the Job is given",
            received=f"{left[0]} in {text!r}",
            expected="values; it fills in a placeholder that is all of a parameter, and none in a list or mapping",
            what_to_do="Give arguments or environment as a whole: a parameter of the pipeline, or a step's output.",
        )
    return filled


def _filled_in(spec: JobSpec, run: str) -> JobSpec:
    filled = {
        "command": tuple(fill_in(each, run) for each in spec.command),
        "arguments": tuple(fill_in(each, run) for each in spec.arguments),
        "environment": {name: fill_in(value, run) for name, value in spec.environment.items()},
    }
    return spec.model_copy(update=filled)


def refuse_unshared(folder: str, mounts: Sequence[Mount]) -> None:
    """Refuse a folder that a Job and the step that waits for it cannot both have.

    Raises:
        ConfigurationError: The folder is in no claim of the Job, or the claim is only read or for one node at a time.
    """
    mount = mount_of(folder, mounts)
    if mount is None:
        raise ConfigurationError(
            f"The Job cannot write into {folder}",
            received=f"a Job that mounts {', '.join(each.mount_path for each in mounts) or 'no claim'}",
            expected="a folder below a claim that the Job mounts",
            what_to_do="Name the claim in placement_of(role, mounts=[...]), and the folder by claim_path(...).",
        )
    if mount.read_only:
        raise ConfigurationError(
            f"The Job cannot write into {folder}",
            received=f"the claim {mount.claim}, which is mounted to be read only",
            expected="a claim that is written to",
            what_to_do="Name another claim.",
        )
    if mount.access_mode in SINGLE_NODE_MODES:
        raise ConfigurationError(
            f"The claim {mount.claim} is {mount.access_mode}, and the Job and the step that waits for it both mount it",
            received=f"the folder {folder}",
            expected="a claim with the access mode ReadWriteMany: the two pods run at once, mostly on two nodes",
            what_to_do="Name a ReadWriteMany claim for the folder; or let the Job write to object storage, and leave "
            "the folder out.",
        )


def _with_output_variable(spec: JobSpec, folder: str) -> JobSpec:
    """The specification with the folder in its environment, first, so that other variables can refer to it."""
    if OUTPUT_VARIABLE in spec.environment:
        raise ConfigurationError(
            f"The environment has {OUTPUT_VARIABLE}, which the step itself sets",
            received=spec.environment[OUTPUT_VARIABLE],
            expected=f"the folder, {folder}",
            what_to_do="Leave the variable out.",
        )
    return spec.model_copy(update={"environment": {OUTPUT_VARIABLE: folder, **spec.environment}})


def hand_back(folder: Path, output: Path) -> dict[str, Any]:
    """Copy what a Job wrote to where the step's artifact is.

    Returns:
        What `result.json` holds; empty if there is none.

    Raises:
        DataError: There is no file in the folder, or `result.json` is not a JSON object, or is too large.
        ResourceError: It cannot be copied.
    """
    if not any(path.is_file() for path in folder.rglob("*")):
        raise DataError(
            "The Job completed, and wrote nothing",
            received=f"no file in {folder}",
            expected=f"files in the folder that the environment variable {OUTPUT_VARIABLE} names",
            what_to_do=f"Let the program write there; in `arguments` it is $({OUTPUT_VARIABLE}).",
        )
    result = _read_result(folder / RESULT_FILE)
    try:
        shutil.copytree(folder, output, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise ResourceError(
            "What the Job wrote cannot be copied",
            received=f"{type(error).__name__}: {error}",
            expected=f"files in {folder} that this step can read, and room for them",
            what_to_do="Give the step's role more ephemeral_storage, and let the Job write files that others can read.",
        ) from error
    return result


def _forget_result(folder: Path) -> None:
    """Delete the result of a Job that was given up, so that the new one does not hand it back; files are its own."""
    try:
        (folder / RESULT_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise ResourceError(
            f"The {RESULT_FILE} of an earlier Job cannot be deleted",
            received=f"{type(error).__name__}: {error}",
            expected=f"a folder {folder} that this step may write to",
            what_to_do="Delete the file, or let the step's user write to the claim.",
        ) from error


def _read_result(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    size = path.stat().st_size
    told = f"{size} bytes"
    if size <= LARGEST_RESULT:
        try:
            result = json.loads(path.read_bytes())
        except ValueError as error:
            told = f"{type(error).__name__}: {error}"
        else:
            if isinstance(result, dict):
                return result
            told = f"a JSON {type(result).__name__}"
    raise DataError(
        f"The Job's {RESULT_FILE} is not a small JSON object",
        received=told,
        expected=f'an object of at most {LARGEST_RESULT} bytes, such as {{"rows": 1000}}',
        what_to_do=f"Correct what the program writes, or give the file another name than {RESULT_FILE}.",
    )


def _write_job(job: Manifest, output: Path) -> None:
    shown = {**job, "metadata": {key: value for key, value in job["metadata"].items() if key != "managedFields"}}
    write_atomically(output / JOB_FILE, json.dumps(shown, indent=2, sort_keys=True).encode())
