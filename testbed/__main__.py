"""`python -m testbed up|down|status|build`: the test bed at the terminal. `make cluster-up` and its like call it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from stepworks.errors import ConfigurationError, ResourceError, StepworksError, UserError
from stepworks.placement.names import DNS_LABEL
from testbed.bed import Bed
from testbed.modules import MODULES, built
from testbed.settings import GENERATIONS, Generation, Settings, gpu_node
from testbed.sweep import clear

FOLDER = Path(".stepworks") / "clusters"
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)

Name = Annotated[str, typer.Option(help="Which test bed; several run side by side.")]
Versions = Annotated[
    str | None,
    typer.Option(metavar="older|newer", help="Which versions of KServe, Trainer and JobSet; newer if not given."),
]
Simulated = Annotated[
    str | None,
    typer.Option(metavar="NUMBER", help="How many nodes with 8 simulated GPUs to add; none if not given."),
]


@app.command()
def up(name: Name = "default", generation: Versions = None, simulated: Simulated = None) -> None:
    """Start a Kubernetes control plane on this machine, and leave it running."""
    folder = _folder(name)
    asked: dict[str, Any] = {}
    if generation is not None:
        asked["generation"] = _generation(generation)
    if simulated is not None:
        asked["simulated"] = _number(simulated)
    if not _supervisor(folder):
        for module in Settings(generation=asked.get("generation", "newer")).modules():
            built(module, _say_build)
    for number in _ENDING:
        signal.signal(number, _exit)
    with _alone(folder):  # or two at once would take each other's folder away
        process = None if _supervisor(folder) else _launch(name, folder, asked)
    if process:
        with _stopping_if_interrupted(name, folder, process):
            _wait_until_ready(name, folder, process)
        print(f"The test bed {name} runs.")
    else:
        _refuse_other_settings(name, folder, asked)
        if _is_ready(folder):
            print(f"The test bed {name} runs already.")
        else:
            print(f"The test bed {name} is being started already; waiting for it …", flush=True)
            _wait_until_ready(name, folder)
            print(f"The test bed {name} runs.")
    _print_usage(name, folder)


@app.command()
def down(name: Name = "default") -> None:
    """Stop a test bed and delete all that it held."""
    folder = _folder(name)
    pid = _supervisor(folder)
    if pid:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 60
        while _supervisor(folder):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.1)
    there = folder.exists()
    _remove(folder)
    print(f"The test bed {name} is stopped." if pid or there else f"No test bed {name} runs.")


@app.command()
def status() -> None:
    """Say which test beds run."""
    names = sorted(path.name for path in FOLDER.glob("*") if path.is_dir()) if FOLDER.is_dir() else []
    for name in names:
        folder = FOLDER / name
        if not _supervisor(folder):
            told = f"has crashed; remove what is left of it: make cluster-down NAME={name}"
        elif _is_ready(folder):
            told = f"runs, KUBECONFIG={folder / 'kubeconfig'}"
        else:
            told = "is being started"
        print(f"{name}: {told}")
    if not names:
        print("No test bed runs.")


@app.command()
def build(
    modules: Annotated[
        list[str] | None, typer.Argument(help="Folders of testbed/modules; all but those on demand if not given.")
    ] = None,
) -> None:
    """Build the programs of every generation into the cache."""
    if unknown := sorted(set(modules or ()) - set(MODULES)):
        raise ConfigurationError(
            "There is no such module of the test bed",
            received=", ".join(unknown),
            expected=f"some of {', '.join(MODULES)}",
            what_to_do="Correct the name.",
        )
    for name in modules or [name for name, module in MODULES.items() if not module.on_demand]:
        built(name, _say_build)


@app.command(hidden=True)
def supervise(name: Name = "default", generation: Generation = "newer", simulated: int = 0) -> None:
    """Run a test bed until a signal ends it."""
    folder = _folder(name)
    ending: list[int] = []
    for number in _ENDING:
        signal.signal(number, lambda signum, _: ending.append(signum))

    def end_if_told() -> None:
        # Not from the signal's handler: a program that is just being started would be lost from sight.
        if ending:
            sys.exit(128 + ending[0])

    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps({"generation": generation, "simulated": simulated}))
    (folder / "pid").write_text(str(os.getpid()))
    bed = Bed(folder, Settings(generation=generation), print, before_each_step=end_if_told)
    bed.start()
    try:
        bed.add_simulated_nodes(*(gpu_node(f"simulated-{number}", count=8) for number in range(simulated)))
        bed.write_kubectl()
        (folder / "ready").touch()
        while not ending:
            signal.pause()
    finally:
        bed.stop()


def _generation(given: str) -> Generation:
    """The generation that was asked for; make has no types of its own.

    Raises:
        ConfigurationError: There is no such generation.
    """
    for known in GENERATIONS:
        if given == known:
            return known
    raise ConfigurationError(
        "There is no such generation of the test bed",
        received=f"GENERATION={given}",
        expected=" or ".join(f"GENERATION={known}" for known in GENERATIONS),
        what_to_do="Correct it, or leave it out for the newer one.",
    )


def _number(given: str) -> int:
    """How many simulated nodes were asked for.

    Raises:
        ConfigurationError: It is no number.
    """
    if given.isascii() and given.isdecimal():
        return int(given)
    raise ConfigurationError(
        "The number of simulated nodes is none",
        received=f"SIMULATED={given}",
        expected="a whole number from 0 up, such as SIMULATED=8",
        what_to_do="Correct it, or leave it out for no such nodes.",
    )


def _folder(name: str) -> Path:
    """The folder of a bed, which is deleted with all that is in it when the bed stops.

    Raises:
        ConfigurationError: The name is none of a folder of its own.
    """
    if not re.fullmatch(DNS_LABEL, name):
        raise ConfigurationError(
            f"{name!r} cannot be the name of a test bed",
            received=repr(name),
            expected="up to 63 lower-case letters, digits and dashes, with a letter or digit at both ends",
            what_to_do="Choose another name: make cluster-up NAME=second",
        )
    return FOLDER / name


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold back whatever else starts a bed here; it ends with this process."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder.parent, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _launch(name: str, folder: Path, asked: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start the supervisor of a bed, and return when it is to be seen as that, or has ended."""
    clear(folder)
    command = [sys.executable, "-m", "testbed", "supervise", "--name", name]
    command += [f"--{key}={value}" for key, value in asked.items()]
    print("Starting etcd, Kubernetes, JobSet, Trainer, training-operator, KServe and the nodes …", flush=True)
    with _log(folder).open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    with _stopping_if_interrupted(name, folder, process):
        while process.poll() is None and not _supervisor(folder):
            time.sleep(0.05)
    return process


@contextmanager
def _stopping_if_interrupted(name: str, folder: Path, process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stop the bed if a signal ends this command."""
    try:
        yield
    except SystemExit:
        print(f"Interrupted: the test bed {name} is being stopped.", file=sys.stderr, flush=True)
        process.terminate()
        process.wait()
        _remove(folder)
        raise


def _log(folder: Path) -> Path:
    return folder.parent / f"{folder.name}.log"


def _remove(folder: Path) -> None:
    clear(folder)
    _log(folder).unlink(missing_ok=True)


def _is_ready(folder: Path) -> bool:
    return (folder / "ready").exists()


def _refuse_other_settings(name: str, folder: Path, asked: dict[str, Any]) -> None:
    """Refuse what a bed that runs does not have."""
    present = json.loads((folder / "settings.json").read_text())
    if any(present[key] != value for key, value in asked.items()):
        raise ConfigurationError(
            f"The test bed {name} runs already, with other settings",
            received=_in_words({**present, **asked}),
            expected=f"those that it was started with: {_in_words(present)}",
            what_to_do=f"Stop it first: make cluster-down NAME={name}. Or start another one beside it: "
            "make cluster-up NAME=second",
        )


def _in_words(settings: dict[str, Any]) -> str:
    return f"GENERATION={settings['generation']} SIMULATED={settings['simulated']}"


def _wait_until_ready(name: str, folder: Path, process: subprocess.Popen[bytes] | None = None) -> None:
    """Wait for the start of a bed, whose supervisor is a process of this one's or of another one's."""
    while not _is_ready(folder):
        if process.poll() is not None if process else not _supervisor(folder):
            log = _log(folder)
            told = log.read_text(encoding="utf-8", errors="replace").strip() if log.exists() else ""
            raise ResourceError(
                f"The test bed {name} did not start",
                received=told or "nothing in its log: it was stopped",
                what_to_do=f"Read {log}." if told else "Start it again.",
            )
        time.sleep(0.1)


def _exit(number: int, _frame: FrameType | None) -> None:
    for each in _ENDING:  # once: what follows is done to its end
        signal.signal(each, lambda *_: None)
    sys.exit(128 + number)


def _say_build(line: str) -> None:
    print(f"{line} (the first time takes minutes)", flush=True)


def _supervisor(folder: Path) -> int | None:
    """The process that runs a bed, if it is alive and still that."""
    try:
        pid = int((folder / "pid").read_text())
        os.kill(pid, 0)
        shown = subprocess.run(
            ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
    except (OSError, ValueError):
        return None
    return pid if "testbed supervise" in shown.stdout else None


def _print_usage(name: str, folder: Path) -> None:
    print(f"Use it:   export KUBECONFIG=$PWD/{folder}/kubeconfig")
    print(f"Look:     {folder}/kubectl get nodes")
    print(f"Stop it:  make cluster-down{'' if name == 'default' else f' NAME={name}'}")


def main() -> None:
    """Run the command, and print an error of ours instead of a traceback."""
    try:
        app()
    except StepworksError as error:
        print(error, file=sys.stderr)
        sys.exit(2 if isinstance(error, UserError) else 1)


if __name__ == "__main__":
    main()
