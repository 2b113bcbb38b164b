"""One run of a pipeline that this machine conducts, from its parameters to its record."""

from __future__ import annotations

import builtins
import logging
import secrets
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, Literal, TextIO, TypeVar

from kfp import local

from stepworks.errors import ResourceError, StepFailedError, StepworksError
from stepworks.files import write_atomically
from stepworks.kubeflow.local.kfp_seam import observed_by
from stepworks.kubeflow.local.launcher import Launcher
from stepworks.kubeflow.local.lineage import code_revision, package_versions
from stepworks.kubeflow.local.processes import ProcessRunner
from stepworks.kubeflow.local.progress import open_progress
from stepworks.kubeflow.local.runner import Runner
from stepworks.kubeflow.local.steps import Step, read_steps
from stepworks.kubeflow.pipeline import Pipeline, local_claim_path
from stepworks.kubeflow.step_inputs import give_inputs
from stepworks.report.documents import Document, find_document
from stepworks.report.run_record import RunRecord
from stepworks.supervisor.supervisor import Supervisor

KFP_LOG = "kfp.log"
_LARGEST_DOCUMENT = 8 * 1024 * 1024
_Kind = TypeVar("_Kind")


@dataclass
class Run:
    """A run that this machine conducts: its folder, its steps, and the documents that they left.

    Attributes:
        pipeline: What runs.
        graph: The pipeline as kfp traced it.
        arguments: The values of its parameters.
        run_id: Names the run and its folder.
        folder: Holds the logs, the artifacts, the record and the report.
        runner: Runs the steps.
        started: When, in UTC.
        steps: What runs, in an order in which it can.
        documents: What each step found, by its name.
        inputs: What the run gives to steps in place of the pipeline, by `step.input`.
        artifacts: Where each output artifact of a step is, by the step's name.
        state: Success is stated when every step has ended well, and not before.
        seconds: How long the steps took.
    """

    pipeline: Pipeline
    graph: Any
    arguments: Mapping[str, Any]
    run_id: str
    folder: Path
    runner: Runner
    started: datetime
    steps: list[Step]
    documents: dict[str, list[Document]] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    artifacts: dict[str, dict[str, Path]] = field(default_factory=dict)
    state: Literal["running", "succeeded", "failed", "cancelled"] = "running"
    seconds: float = 0.0

    def documents_of(self, kind: type[_Kind]) -> list[_Kind]:
        """The documents of one kind that the steps left, in running order."""
        return [each for documents in self.documents.values() for each in documents if isinstance(each, kind)]

    @property
    def failed_step(self) -> Step | None:
        """The step that ended the run, if one did."""
        return next((step for step in self.steps if step.state == "failed"), None)

    def record(self) -> RunRecord:
        """The run as it is kept and reported."""
        return RunRecord(
            run_id=self.run_id,
            pipeline=self.pipeline.name,
            version=self.pipeline.version,
            state=self.state,
            started=self.started.isoformat(timespec="seconds"),
            seconds=self.seconds,
            steps=[step.record() for step in self.steps],
            parameters=self._parameters(),
            data_digest=self._data_digest(),
            code_revision=code_revision(Path(__file__).parent),
            package_versions=package_versions(),
        )

    def write_report(self) -> Path:
        """Write the record and the report as they are now; return the report's path.

        Raises:
            ResourceError: The disk is full or the run's folder is not writable.
        """
        from stepworks.report.page import run_report

        record = self.record()
        write_atomically(self.folder / "run.json", record.model_dump_json(indent=1).encode())
        return write_atomically(self.folder / "report.html", run_report(record, self.documents).encode())

    def _data_digest(self) -> str | None:
        """The digest of what went in: the first that a step noted of an output, in running order."""
        notes = (note for step in self.steps for note in step.metadata.values())
        return next((str(note["digest"]) for note in notes if "digest" in note), None)

    def _parameters(self) -> dict[str, str]:
        return {
            name: str(self.arguments.get(name, parameter.default))
            for name, parameter in self.pipeline.parameters().items()
        } | {name: str(value) for name, value in self.inputs.items()}


@dataclass
class LocalRun(Run):
    """A run whose steps are processes of this machine.

    Attributes:
        supervisor: Owns what outlives the steps; open until the run is closed.
    """

    supervisor: Supervisor = field(kw_only=True)


@contextmanager
def local_run(
    pipeline: Pipeline, arguments: Mapping[str, Any], home: Path, inputs: Iterable[str] = ()
) -> Iterator[LocalRun]:
    """Prepare a run; when the block ends, nothing of the run is left running that was not released.

    Args:
        pipeline: What to run.
        arguments: The values of its parameters.
        home: The folder of all runs and claims, `.stepworks`.
        inputs: What steps are given in place of the pipeline, as `step.input=value`.

    Raises:
        ParameterError: There is no such input, or its value has another type.
        ResourceError: The run's folder cannot be made.
    """
    built = pipeline.build(None)
    given = give_inputs(built.graph, inputs)
    started, run_id, folder = open_folder(pipeline, home)
    claims = {local_claim_path(name): _claim_folder(name, home.absolute(), folder) for name in built.claims}
    temporary = folder / "tmp"
    temporary.mkdir()
    try:
        with Supervisor(folder / "logs", claims=claims) as supervisor:
            yield LocalRun(
                pipeline,
                built.graph,
                arguments,
                run_id,
                folder,
                ProcessRunner(supervisor, temporary),
                started,
                read_steps(built.graph.pipeline_spec),
                inputs=given,
                supervisor=supervisor,
            )
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def open_folder(pipeline: Pipeline, home: Path) -> tuple[datetime, str, Path]:
    """Begin a run: when, in UTC, under which id, and in which folder, which is made.

    Raises:
        ResourceError: It cannot be made.
    """
    started = datetime.now(UTC)
    run_id = f"{pipeline.name}-{started:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    folder = home.absolute() / "runs" / run_id
    try:
        (folder / "logs").mkdir(parents=True)
    except OSError as error:
        raise ResourceError(
            f"Cannot make the run's folder {folder}",
            received=f"{type(error).__name__}: {error.strerror or error}",
            expected="a writable folder",
            what_to_do="Run in a folder that you can write to, or name one with --home.",
        ) from error
    return started, run_id, folder


def _claim_folder(name: str, home: Path, run: Path) -> Path:
    """The folder that stands for a claim. Checkpoints belong to the run; other claims outlive it."""
    return (run if name == "checkpoints" else home) / "claims" / name


def execute(run: Run, stream: TextIO) -> None:
    """Run the pipeline's steps to the end, showing their progress on `stream`.

    Raises:
        StepFailedError: A step failed; the message is the page that says what, why and what to do.
        StepworksError: Something of a step may be left.
    """
    logs = run.folder / "logs"
    progress = open_progress(f"{run.pipeline.name} {run.pipeline.version}  ({run.run_id})", run.steps, logs, stream)

    def step_ended(step: Step, outputs: Mapping[str, str]) -> None:
        _collect(run, step, outputs)
        progress.step_ended(step)

    launcher = Launcher(run.steps, logs, run.runner, on_begin=progress.step_began, on_end=step_ended)
    began = monotonic()
    trouble = None
    try:
        with (
            progress,
            _all_ended(run.steps, launcher),
            launcher.ended_by_signals(),
            _kfp_output_in(logs / KFP_LOG),
            observed_by(launcher),
        ):
            local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(run.folder / "artifacts"))
            run.graph(**run.arguments)
    except Exception as error:  # noqa: BLE001  # kfp raises a bare RuntimeError for a failed step, others for its own
        trouble = error
    except BaseException:
        run.state = "cancelled"
        raise
    finally:
        run.seconds = monotonic() - began
    if trouble or run.failed_step:  # kfp itself goes on where an upstream failure is to be ignored
        run.state = "failed"
        if isinstance(trouble, StepworksError) and run.failed_step is None:
            raise trouble
        raise _explain(run, trouble) from trouble
    run.state = "succeeded"


def _explain(run: Run, trouble: Exception | None) -> StepFailedError:
    failed = run.failed_step
    if failed is None:
        return StepFailedError(
            "kfp's local runner ended the run",
            received=f"{type(trouble).__name__}: {trouble}",
            what_to_do=f"Read {run.folder / 'logs' / KFP_LOG}",
        )
    page = failed.error or "It left no message."
    if trouble and not isinstance(trouble, RuntimeError):  # a RuntimeError of kfp says only that the step failed
        page = f"{page}\n{trouble if isinstance(trouble, StepworksError) else repr(trouble)}"
    log = run.folder / "logs" / (failed.log or KFP_LOG)
    return StepFailedError(f"The step {failed.name} failed\n\n{_indent(page)}\n\n  Its whole log: {log}")


@contextmanager
def _all_ended(steps: list[Step], launcher: Launcher) -> Iterator[None]:
    """When the block ends, by whatever way, no step runs, and none is shown as if it did."""
    try:
        yield
    finally:
        try:
            launcher.stop()
        finally:
            for step in steps:
                step.close()


@contextmanager
def _kfp_output_in(path: Path) -> Iterator[None]:
    """Keep what kfp prints and warns about out of the display: it is in a file of the run.

    While a task runs kfp replaces print and the handlers of the root logger. Tasks of a loop that run at once put back
    what they found, which may be what another one had set; so they are put back here.
    """
    root, original_print = logging.getLogger(), builtins.print
    handlers, level = root.handlers[:], root.level
    with path.open("a", encoding="utf-8") as file, redirect_stdout(file), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            builtins.print = original_print
            root.handlers[:] = handlers
            root.setLevel(level)


def _collect(run: Run, step: Step, outputs: Mapping[str, str]) -> None:
    """Take up the documents that a step left, of a failed step too: they say why. Other files are not ours."""
    run.artifacts[step.name] = {name: Path(path) for name, path in outputs.items()}
    for path in run.artifacts[step.name].values():
        if path.is_file() and path.stat().st_size <= _LARGEST_DOCUMENT:
            try:
                document = find_document(path)
            except StepworksError as error:
                step.fail(str(error), step.log)
                continue
            if document:
                run.documents.setdefault(step.name, []).append(document)


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" if line else line for line in text.splitlines())
