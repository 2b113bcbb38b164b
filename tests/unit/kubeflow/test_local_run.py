"""Real runs of tiny pipelines through kfp's local runner."""

import builtins
import inspect
import io
import logging
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from kfp.local import logging_utils, subprocess_task_handler
from kfp.local.orchestrator import dag_orchestrator, enhanced_dag_orchestrator, task_executor

from stepworks.errors import ResourceError, StepFailedError
from stepworks.kubeflow.local.run import LocalRun, execute, local_run
from stepworks.kubeflow.local.steps import running_order
from stepworks.kubeflow.pipeline import Pipeline
from stepworks.report.run_record import RunRecord
from tests.processes import environment_with, marked
from tests.waiting import wait_for

Make = Callable[[str], Pipeline]

CHAIN = """
@pipeline(version="1.0.0")
def tiny(n: int = 1):
    \"\"\"Add three times.\"\"\"
    first = add(a=n, b=1)
    second = add(a=first.output, b=1)
    add(a=second.output, b=1)
"""
FAILING = """
@pipeline(version="1.0.0")
def tiny(how: str):
    \"\"\"Fail in the middle.\"\"\"
    first = add(a=1, b=1)
    failed = fail(how=how).after(first)
    add(a=1, b=2).after(failed)
"""


def run(pipeline: Pipeline, home: Path, **arguments: Any) -> tuple[LocalRun, str]:
    """Run to the end; return the run and what a person saw."""
    output = io.StringIO()
    with local_run(pipeline, arguments, home) as running:
        execute(running, output)
    return running, output.getvalue()


def failing_run(pipeline: Pipeline, home: Path, **arguments: Any) -> tuple[LocalRun, StepFailedError]:
    with local_run(pipeline, arguments, home) as running, pytest.raises(StepFailedError) as caught:
        execute(running, io.StringIO())
    return running, caught.value


def test_the_names_of_kfp_that_we_replace_are_still_there() -> None:
    assert {"task_name", "task_spec"} <= set(inspect.signature(task_executor.execute_single_task).parameters)
    assert list(inspect.signature(subprocess_task_handler.run_local_subprocess).parameters) == [
        "full_command",
        "env_vars",
    ]
    for orchestrator in (dag_orchestrator, enhanced_dag_orchestrator):
        assert "task_executor.execute_single_task(" in inspect.getsource(orchestrator)
        assert "graph_utils.topological_sort_tasks(" in inspect.getsource(orchestrator)


def test_tasks_run_in_an_order_that_is_always_the_same() -> None:
    waits: dict[str, list[str]] = {"z": [], "b": ["z"], "a": ["b", "elsewhere"], "c": ["z"], "d": ["a", "c"]}
    assert running_order(waits) == ["z", "b", "a", "c", "d"]
    assert running_order(dict(reversed(waits.items()))) == ["z", "b", "a", "c", "d"]


def test_a_run_shows_its_steps_and_keeps_a_record(make_pipeline: Make, tmp_path: Path) -> None:
    running, shown = run(make_pipeline(CHAIN), tmp_path / "home", n=5)
    assert [line.split()[:2] for line in shown.splitlines()[1:]] == [
        ["▶", "add"], ["✓", "add"], ["▶", "add-2"], ["✓", "add-2"], ["▶", "add-3"], ["✓", "add-3"],
    ]  # fmt: skip
    running.write_report()
    record = RunRecord.model_validate_json((running.folder / "run.json").read_bytes())
    assert record.state == "succeeded"
    assert [(step.name, step.state, step.depends_on) for step in record.steps] == [
        ("add", "succeeded", []),
        ("add-2", "succeeded", ["add"]),
        ("add-3", "succeeded", ["add-2"]),
    ]
    assert record.parameters == {"n": "5"}
    assert "adding 7 and 1" in (running.folder / "logs" / "add-3.log").read_text()
    assert "kfp" in record.package_versions


def test_kfp_is_as_it_was_after_a_run(make_pipeline: Make, tmp_path: Path) -> None:
    before = (task_executor.execute_single_task, subprocess_task_handler.run_local_subprocess)
    run(make_pipeline(CHAIN), tmp_path)
    assert (task_executor.execute_single_task, subprocess_task_handler.run_local_subprocess) == before


def test_print_and_logging_are_as_they_were_whichever_task_of_a_loop_ends_last(
    make_pipeline: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def leaving_it() -> Iterator[None]:
        """Stand for two tasks at once, of which the second puts back what the first had set."""
        builtins.print = partial(builtins.print, "    ")
        logging.getLogger().handlers.clear()
        yield

    before = (builtins.print, logging.getLogger().handlers[:], logging.getLogger().level)
    monkeypatch.setattr(logging_utils, "indented_print", leaving_it)
    run(make_pipeline(CHAIN), tmp_path)
    assert (builtins.print, logging.getLogger().handlers, logging.getLogger().level) == before


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("ours", ["The column x is missing", "Received: a, b", "What to do: Add the column x."]),
        ("other", ["KeyError: 'x'"]),
        ("killed", ["SIGKILL", "out of memory"]),
        ("exit", ["exit code 3", "about to give up"]),
    ],
)
def test_a_failed_step_leaves_a_page(make_pipeline: Make, tmp_path: Path, how: str, told: list[str]) -> None:
    running, error = failing_run(make_pipeline(FAILING), tmp_path, how=how)
    for text in ["The step fail failed", "fail.log", *told]:
        assert text in str(error)
    record = running.record()
    assert record.state == "failed"
    assert [step.state for step in record.steps] == ["succeeded", "failed", "skipped"]


def test_a_branch_that_is_not_taken_is_skipped_and_a_loop_runs(make_pipeline: Make, tmp_path: Path) -> None:
    tiny = make_pipeline(
        """
from kfp import dsl

@pipeline(version="1.0.0")
def tiny(n: int = 1):
    \"\"\"Branch and loop.\"\"\"
    first = add(a=n, b=1)
    with dsl.If(first.output == 0):
        add(a=first.output, b=1)
    with dsl.ParallelFor([1, 2]) as item:
        add(a=first.output, b=item)
"""
    )
    running, _ = run(tiny, tmp_path)
    states = {step.name: step.state for step in running.steps}
    assert states == {"add": "succeeded", "add-2": "skipped", "add-3": "succeeded"}


def test_a_loop_of_which_one_iteration_fails_has_failed(make_pipeline: Make, tmp_path: Path) -> None:
    tiny = make_pipeline(
        """
from kfp import dsl

@pipeline(version="1.0.0")
def tiny():
    \"\"\"Fail once.\"\"\"
    with dsl.ParallelFor(["ours", "not at all", "neither"]) as how:
        fail(how=how)
"""
    )
    running, error = failing_run(tiny, tmp_path)
    assert "The column x is missing" in str(error)
    assert running.record().state == "failed"


def test_what_a_step_of_somebody_else_writes_is_no_document(make_pipeline: Make, tmp_path: Path) -> None:
    tiny = make_pipeline(
        """
@component("cpu")
def write(result: Output[Artifact]) -> None:
    \"\"\"Write JSON of its own.\"\"\"
    with open(result.path, "w") as file:
        file.write('{"rows": 3}')

@pipeline(version="1.0.0")
def tiny():
    \"\"\"Write.\"\"\"
    write()
"""
    )
    running, _ = run(tiny, tmp_path)
    assert running.documents == {}
    assert running.state == "succeeded"


def test_a_failure_of_the_last_attempt_is_told_and_not_of_the_first(make_pipeline: Make, tmp_path: Path) -> None:
    tiny = make_pipeline(
        """
@component("cpu")
def stumble(folder: str) -> None:
    \"\"\"Fail in two ways.\"\"\"
    import os, pathlib
    mark = pathlib.Path(folder) / "mark"
    if mark.exists():
        os._exit(3)
    mark.touch()
    raise ValueError("the first attempt")

@pipeline(version="1.0.0")
def tiny(folder: str):
    \"\"\"Stumble.\"\"\"
    stumble(folder=folder).set_retry(1, backoff_duration="1s")
"""
    )
    running, error = failing_run(tiny, tmp_path / "home", folder=str(tmp_path))
    assert "exit code 3" in str(error)
    assert "the first attempt" not in str(error)
    assert running.steps[0].attempts == 2


def test_a_claim_is_a_folder_of_the_home_and_checkpoints_belong_to_the_run(make_pipeline: Make, tmp_path: Path) -> None:
    tiny = make_pipeline(
        """
from stepworks.kubeflow.pipeline import claim_path

@component("cpu")
def touch(path: str) -> None:
    \"\"\"Make a file.\"\"\"
    from stepworks.supervisor.client import local_path
    local_path(path).touch()

@pipeline(version="1.0.0")
def tiny():
    \"\"\"Touch two claims.\"\"\"
    place(touch(path=f"{claim_path('checkpoints')}/a"), "small")
    place(touch(path="/mnt/datasets/b"), "small", mounts=["datasets"])
"""
    )
    running, _ = run(tiny, tmp_path)
    assert (running.folder / "claims" / "checkpoints" / "a").exists()
    assert (tmp_path / "claims" / "datasets" / "b").exists()


def test_a_home_that_cannot_be_written_is_told(make_pipeline: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="--home"):
        run(make_pipeline(CHAIN), tmp_path / "file")


INNER = """
from kfp import dsl

@dsl.pipeline
def inner(how: str):
    add(a=1, b=1)
    fail(how=how)

@pipeline(version="1.0.0")
def tiny(how: str):
    \"\"\"Fail within.\"\"\"
    add(a=2, b=2)
    with dsl.ExitHandler(fail(how="not at all")):
        inner(how=how)
"""


def test_a_failure_within_an_inner_pipeline_is_the_runs_and_steps_of_one_name_are_kept_apart(
    make_pipeline: Make, tmp_path: Path
) -> None:
    running, error = failing_run(make_pipeline(INNER), tmp_path, how="ours")
    assert "The column x is missing" in str(error)
    states = {step.name: step.state for step in running.steps}
    assert sorted(states.values()) == ["failed", "succeeded", "succeeded", "succeeded"]
    assert len(states) == 4
    assert len({step.log for step in running.steps}) == 4


def test_what_a_step_leaves_in_the_background_ends_with_it(make_pipeline: Make, tmp_path: Path) -> None:
    tiny = make_pipeline(
        """
@component("cpu")
def leave() -> None:
    \"\"\"Leave something behind.\"\"\"
    import subprocess
    subprocess.Popen(["sleep", "271"])

@pipeline(version="1.0.0")
def tiny():
    \"\"\"Leave.\"\"\"
    leave()
"""
    )
    run(tiny, tmp_path)
    assert [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "271"]] == []


LOOPING = """
from kfp import dsl

@component("cpu")
def clean(number: int, folder: str) -> None:
    \"\"\"Sleep, and clean up on SIGTERM.\"\"\"
    import pathlib, signal, sys, time
    def end(*_):
        time.sleep(0.5)
        (pathlib.Path(folder) / f"cleaned-{number}").touch()
        sys.exit(1)
    signal.signal(signal.SIGTERM, end)
    (pathlib.Path(folder) / f"began-{number}").touch()
    time.sleep(600)

@pipeline(version="1.0.0")
def tiny(folder: str):
    \"\"\"Loop.\"\"\"
    with dsl.ParallelFor([1, 2, 3, 4]) as number:
        clean(number=number, folder=folder)
"""


def test_an_interrupted_loop_ends_at_once_starts_nothing_more_and_gives_its_steps_the_grace(
    write_pipeline: Callable[[str], Path], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    command = ["run", str(write_pipeline(LOOPING)), "--home", str(home), "-p", f"folder={tmp_path}"]
    process = subprocess.Popen([sys.executable, "-m", "stepworks", *command], stderr=subprocess.PIPE, text=True)
    wait_for("both began", lambda: len(list(tmp_path.glob("began-*"))) == 2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Interrupted" in errors
    began = {path.name.removeprefix("began-") for path in tmp_path.glob("began-*")}
    assert {path.name.removeprefix("cleaned-") for path in tmp_path.glob("cleaned-*")} == began
    assert len(began) == 2
    record = RunRecord.model_validate_json(next(home.glob("runs/*/run.json")).read_bytes())
    assert record.state == "cancelled"
    assert {step.state for step in record.steps} == {"cancelled"}
    assert next(home.glob("runs/*/report.html")).exists()


SLEEPING = """
@component("cpu")
def sleep() -> None:
    \"\"\"Sleep in a child, too.\"\"\"
    import subprocess, sys, time
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print("asleep", flush=True)
    time.sleep(600)

@pipeline(version="1.0.0")
def tiny():
    \"\"\"Sleep.\"\"\"
    sleep()
"""


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)]
)
def test_an_ended_run_leaves_no_process(
    write_pipeline: Callable[[str], Path], tmp_path: Path, number: signal.Signals, exit_code: int
) -> None:
    """The processes of the run are found by a variable that they inherit."""
    mark = f"{tmp_path}"
    process = subprocess.Popen(
        [sys.executable, "-m", "stepworks", "run", str(write_pipeline(SLEEPING)), "--home", str(tmp_path / "home")],
        env=environment_with(mark),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(
        "a step sleeps", lambda: any("asleep" in log.read_text() for log in tmp_path.glob("home/runs/*/logs/sleep.log"))
    )
    assert len(marked(mark)) >= 3
    process.send_signal(number)
    assert process.wait(timeout=30) == exit_code
    wait_for("no process is left", lambda: not marked(mark))
