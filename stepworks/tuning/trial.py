"""One trial of a search: a training with the parameters that the search chose.

In a cluster each process of a trial runs `python -m stepworks.tuning.trial <workspace> <trial> <name>=<value> ...`,
since a manifest of Katib's can hold parameters only as text. The workspace is that of the search; the trial has one of
its own below it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from stepworks.errors import NotFoundError, ResourceError, StepworksError, TrainingEndedError
from stepworks.training.metrics import parsed
from stepworks.training.parameters import Value, with_parameters
from stepworks.training.spec import TrainingSpec
from stepworks.training.workspace import Workspace
from stepworks.tuning.local import Reporter
from stepworks.tuning.search_space import Parameter, SearchSpace, typed_assignments

_LOOK_SECONDS = 0.5


def prepare(workspace: Workspace, spec: TrainingSpec, space: SearchSpace) -> None:
    """Write what every trial of a search reads: what is trained, and what is varied."""
    workspace.make()
    spec.write(workspace.spec)
    _space_file(workspace).write_bytes(_SPACE.dump_json(dict(space)))


_SPACE: TypeAdapter[dict[str, Parameter]] = TypeAdapter(dict[str, Parameter])


def _space_file(workspace: Workspace) -> Path:
    return workspace.root / "space.json"


def of_trial(workspace: Workspace, name: str) -> Workspace:
    """The workspace of a trial."""
    return Workspace(workspace.root / "trials" / name)


class _Follower:
    """Reads what is added to a metrics file, line by line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def lines(self) -> list[dict[str, Any]]:
        """The whole lines since the last call; raises OSError if the file cannot be read now."""
        try:
            with self._path.open("rb") as file:
                # It is shorter where a resumed attempt has dropped what it takes again.
                self._position = min(self._position, file.seek(0, 2))
                file.seek(self._position)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content.rpartition(b"\n")[0]
        self._position += len(whole) + 1 if whole else 0
        return [line for line in map(parsed, whole.split(b"\n")) if line is not None]


def _figures(line: dict[str, Any]) -> tuple[int, dict[str, float]]:
    """The step and the figures of a line."""
    own = line.get("figures")  # those of the model's own
    named = line | (own if isinstance(own, dict) else {})
    found = {name: float(value) for name, value in named.items() if _is_figure(name, value)}
    return int(line.get("step") or line.get("epoch") or 0), found


def _is_figure(name: str, value: Any) -> bool:
    return name not in {"time", "step", "epoch"} and isinstance(value, int | float) and not isinstance(value, bool)


@contextmanager
def _followed(
    path: Path, tell: Callable[[int, dict[str, float]], None], on_error: Callable[[], None] = lambda: None
) -> Iterator[list[Exception]]:
    """Tell the figures of a metrics file in a thread of its own while the block lasts, and the last ones at its end.

    A file that cannot be read at a moment, as on a server that starts again, is read at the next one.

    Args:
        path: The file.
        tell: Is called with the step and the figures of each line. After its first error it is not called again.
        on_error: Is called after that error.

    Returns:
        The errors so far; the first one is raised when the block has ended without one of its own.

    Raises:
        ResourceError: The file could not be read at the end.
    """
    follower, ended = _Follower(path), threading.Event()
    errors: list[Exception] = []

    def follow() -> None:
        is_last = False
        while not is_last:
            is_last = ended.wait(_LOOK_SECONDS)
            try:
                lines = follower.lines()
            except OSError as error:
                errors.extend([_unreadable(path, error)] if is_last else [])
                continue
            try:
                for line in lines:
                    tell(*_figures(line))
            except Exception as error:  # noqa: BLE001  # raised where the block ends: nobody sees it in a thread
                errors.append(error)
                on_error()
                return

    thread = threading.Thread(target=follow, name="figures", daemon=True)
    thread.start()
    try:
        yield errors
    finally:
        ended.set()
        thread.join()
    if errors:
        raise errors[0]


def _unreadable(path: Path, error: OSError) -> ResourceError:
    return ResourceError(
        "The figures of the trial cannot be read",
        received=f"{path}: {type(error).__name__}: {error.strerror}",
        expected="the file of lines of JSON that the training writes",
        what_to_do="Look after the volume of the workspace, and run the step again.",
    )


@contextmanager
def printed_figures(path: Path) -> Iterator[None]:
    """Print the figures of a metrics file as lines `name=value` while the block lasts: Katib reads them so.

    Raises:
        ResourceError: The file could not be read, so that Katib would judge by a part of the figures.
    """

    def show(_step: int, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            print(f"{name}={value:.10g}", flush=True)  # noqa: T201

    with _followed(path, show):
        yield


def run_here(spec: TrainingSpec, workspace: Workspace, parameters: Mapping[str, Value], reporter: Reporter) -> None:
    """Run a trial on this machine in one process, and report its figures while it runs.

    Args:
        spec: What is trained without the search.
        workspace: The trial's own.
        parameters: What the search chose.
        reporter: Is told the figures; where it says that the trial is to end, training stops by its STOP file.

    Raises:
        StepworksError: The training failed, or its figures cannot be read.
        TrialStoppedError: The trial was ended early. What else the reporter raises ends it, too, and is raised.
    """
    from stepworks.training.launch import run

    trained = with_parameters(spec, parameters)
    _clear_of_another(workspace, trained)

    def tell(step: int, figures: dict[str, float]) -> None:
        reporter.report(step, **figures)

    with _followed(workspace.metrics, tell, on_error=workspace.stop_file.touch) as errors:
        try:
            run(trained, workspace)
        except TrainingEndedError:
            if not errors:  # otherwise it was ended from here
                raise


def _clear_of_another(workspace: Workspace, spec: TrainingSpec) -> None:
    """Delete what an earlier attempt at the search left, where it had come to other parameters in this trial."""
    try:
        is_another = TrainingSpec.read(workspace.spec) != spec
    except NotFoundError:
        return
    if is_another:
        shutil.rmtree(workspace.root)


def main(arguments: list[str]) -> int:
    """Run one process of a trial in a cluster; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m stepworks.tuning.trial", description=__doc__)
    parser.add_argument("workspace", type=Path, help="the workspace of the search")
    parser.add_argument("trial", help="the name of the trial")
    parser.add_argument("parameters", nargs="+", metavar="name=value", help="what the search chose")
    given = parser.parse_args(arguments)
    try:
        trial = _prepare_trial(Workspace(given.workspace), given.trial, given.parameters)
        return _work(trial)
    except StepworksError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_code


def _work(trial: Workspace) -> int:
    from stepworks.training.worker import main as work

    if os.environ.get("RANK", "0") != "0":
        return work(trial.root)
    with printed_figures(trial.metrics):
        return work(trial.root)


def _prepare_trial(search: Workspace, name: str, given: list[str]) -> Workspace:
    space = _SPACE.validate_json(_space_file(search).read_bytes())
    assignments = {key: value for key, _, value in (each.partition("=") for each in given)}
    spec = with_parameters(TrainingSpec.read(search.spec), typed_assignments(space, assignments))
    inputs = {key: str(search.input(path)) for key, path in spec.inputs.items()}
    trial = of_trial(search, name)
    trial.make()
    TrainingSpec(**{**spec.model_dump(), "inputs": inputs}).write(trial.spec)
    return trial


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
