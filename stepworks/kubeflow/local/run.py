"""One local run of a pipeline, from its parameters to its record."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, TextIO

from kfp import local

from stepworks.errors import ResourceError, StepFailedError
from stepworks.files import write_atomically
from stepworks.kubeflow.local.kfp_seam import observed_by
from stepworks.kubeflow.local.launcher import Launcher
from stepworks.kubeflow.local.lineage import code_revision, package_versions
from stepworks.kubeflow.local.progress import open_progress
from stepworks.kubeflow.local.steps import Step, read_steps
from stepworks.kubeflow.pipeline import Pipeline
from stepworks.report.documents import Document, RunRecord, read_document
from stepworks.supervisor.supervisor import Supervisor

CLAIMS = ("checkpoints", "datasets", "registry")
"""The claims that pipelines mount, below /mnt as the shipped targets mount them."""
_LARGEST_DOCUMENT = 8 * 1024 * 1024


@dataclass
class LocalRun:
    """A run on this machine: its folder, its steps, and the documents that they left.

    Attributes:
        run_id: Names the run and its folder.
        folder: Holds the logs, the artifacts, the record and the report.
        documents: What each step found, by its name.
        supervisor: Owns what outlives the steps; open until the run is closed.
    """

    pipeline: Pipeline
    arguments: Mapping[str, Any]
    run_id: str
    folder: Path
    steps: list[Step]
    supervisor: Supervisor
    started: datetime
    documents: dict[str, list[Document]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def failed_step(self) -> Step | None:
        """The step that ended the run, if one did."""
        return next((step for step in self.steps if step.state == "failed"), None)

    def record(self) -> RunRecord:
        """The run as it is kept and reported."""
        states = {step.state for step in self.steps}
        return RunRecord(
            run_id=self.run_id,
            pipeline=self.pipeline.name,
            version=self.pipeline.version,
            state="failed" if "failed" in states else "cancelled" if "cancelled" in states else "succeeded",
            started=self.started.isoformat(timespec="seconds"),
            seconds=self.seconds,
            steps=[step.record() for step in self.steps],
            parameters=self._parameters(),
            data_digest=self._data_digest(),
            code_revision=code_revision(Path(__file__).parent),
            package_versions=package_versions(),
        )

    def _data_digest(self) -> str | None:
        """The digest of what went in: the first that a step noted of an output, in running order."""
        notes = (note for step in self.steps for note in step.metadata.values())
        return next((str(note["digest"]) for note in notes if "digest" in note), None)

    def _parameters(self) -> dict[str, str]:
        return {
            name: str(self.arguments.get(name, parameter.default))
            for name, parameter in self.pipeline.parameters().items()
        }


@contextmanager
def local_run(pipeline: Pipeline, arguments: Mapping[str, Any], home: Path) -> Iterator[LocalRun]:
    """Prepare a run; when the block ends, nothing of the run is left running that was not released.

    Args:
        pipeline: What to run.
        arguments: The values of its parameters.
        home: The folder of all runs and claims, `.stepworks`.

    Raises:
        ResourceError: The run's folder cannot be made.
    """
    started = datetime.now(UTC)
    run_id = f"{pipeline.name}-{started:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    folder = home.absolute() / "runs" / run_id
    _make_folders(folder)
    with Supervisor(folder / "logs", claims=_claims(home.absolute(), folder)) as supervisor:
        steps: list[Step] = []
        yield LocalRun(pipeline, arguments, run_id, folder, steps, supervisor, started)


def _make_folders(folder: Path) -> None:
    try:
        (folder / "logs").mkdir(parents=True)
    except OSError as error:
        raise ResourceError(
            f"Cannot make the run's folder {folder}",
            received=f"{type(error).__name__}: {error.strerror or error}",
            expected="a writable folder",
            what_to_do="Run in a folder that you can write to, or name one with --home.",
        ) from error


def _claims(home: Path, folder: Path) -> dict[str, Path]:
    """A folder for each claim. Checkpoints belong to the run; data sets and the registry outlive it."""
    shared = home / "claims"
    return {f"/mnt/{name}": (folder / "claims" / name if name == "checkpoints" else shared / name) for name in CLAIMS}


def execute(run: LocalRun, stream: TextIO) -> None:
    """Run the pipeline's steps to the end, showing their progress on `stream`; the record is written whatever happens.

    Raises:
        StepFailedError: A step failed; the message is the page that says what, why and what to do.
    """
    graph = run.pipeline.build(None)
    run.steps.extend(read_steps(graph.pipeline_spec))
    progress = open_progress(f"{run.pipeline.name} {run.pipeline.version}  ({run.run_id})", run.steps, stream)

    def step_ended(step: Step) -> None:
        _collect(run, step)
        progress.step_ended(step)

    launcher = Launcher(run.steps, run.folder / "logs", run.supervisor, step_ended)
    began = monotonic()
    try:
        quiet = _kfp_output_in(run.folder / "logs" / "kfp.log")
        with progress, _all_ended(run.steps, launcher), quiet, observed_by(launcher):
            local.init(
                local.SubprocessRunner(use_venv=False),
                pipeline_root=str(run.folder / "artifacts"),
                raise_on_error=False,
            )
            graph(**run.arguments)
    finally:
        run.seconds = monotonic() - began
        write_atomically(run.folder / "run.json", run.record().model_dump_json(indent=1).encode())
    failed = run.failed_step
    if failed:
        raise StepFailedError(
            f"The step {failed.name} failed\n\n{_indent(failed.error or 'It left no message.')}\n\n"
            f"  Its whole log: {run.folder / 'logs' / (failed.log or '')}"
        )


@contextmanager
def _all_ended(steps: list[Step], launcher: Launcher) -> Iterator[None]:
    """When the block ends, by whatever way, no step runs, and none is shown as if it did."""
    try:
        yield
    finally:
        launcher.stop()
        for step in steps:
            if step.state == "running":
                step.end("cancelled")
            elif step.state == "pending":
                step.end("skipped")


@contextmanager
def _kfp_output_in(path: Path) -> Iterator[None]:
    """Keep what kfp prints and warns about out of the display: it is in a file of the run."""
    with path.open("a", encoding="utf-8") as file, redirect_stdout(file), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _collect(run: LocalRun, step: Step) -> None:
    """Take up the documents that a step left, of a failed step too: they say why."""
    for path in map(Path, step.outputs.values()):
        if not path.is_file() or path.stat().st_size > _LARGEST_DOCUMENT:
            continue
        with path.open("rb") as file:
            is_json = file.read(1) == b"{"
        if is_json:
            run.documents.setdefault(step.name, []).append(read_document(path))


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" if line else line for line in text.splitlines())
