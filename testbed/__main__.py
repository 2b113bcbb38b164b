"""`python -m testbed up|down|status|build`: the test bed at the terminal. `make cluster-up` and its like call it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from stepworks.errors import ResourceError, StepworksError, UserError
from testbed.bed import Bed
from testbed.modules import MODULES, built
from testbed.settings import Generation, Settings, gpu_node
from testbed.sweep import clear

FOLDER = Path(".stepworks") / "clusters"
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

Name = Annotated[str, typer.Option(help="Which test bed; several run side by side.")]
Versions = Annotated[Generation, typer.Option(help="Which versions of KServe, Trainer and JobSet.")]


@app.command()
def up(
    name: Name = "default",
    generation: Versions = "newer",
    simulated: Annotated[int, typer.Option(help="How many nodes with 8 simulated GPUs to add.")] = 0,
) -> None:
    """Start a Kubernetes control plane on this machine, and leave it running."""
    folder = FOLDER / name
    if _supervisor(folder):
        print(f"The test bed {name} runs already.")
        _print_usage(folder)
        return
    clear(folder)
    for module in Settings(generation=generation).modules():
        built(module, _say_build)
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.parent / f"{name}.log"
    command = [sys.executable, "-m", "testbed", "supervise", "--name", name, "--generation", generation]
    command += ["--simulated", str(simulated)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    print("Starting etcd, Kubernetes, JobSet, Trainer, training-operator, KServe and the nodes …", flush=True)
    while not (folder / "ready").exists():
        if process.poll() is not None:
            raise ResourceError(
                f"The test bed {name} did not start",
                received=log.read_text(encoding="utf-8", errors="replace").strip(),
                what_to_do=f"Read {log}.",
            )
        time.sleep(0.1)
    _print_usage(folder)


@app.command()
def down(name: Name = "default") -> None:
    """Stop a test bed and delete all that it held."""
    folder = FOLDER / name
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
    clear(folder)
    (folder.parent / f"{name}.log").unlink(missing_ok=True)
    print(f"The test bed {name} is stopped." if pid or there else f"No test bed {name} runs.")


@app.command()
def status() -> None:
    """Say which test beds run."""
    names = sorted(path.name for path in FOLDER.glob("*") if path.is_dir()) if FOLDER.is_dir() else []
    for name in names:
        running = _supervisor(FOLDER / name)
        print(f"{name}: " + (f"runs, KUBECONFIG={FOLDER / name / 'kubeconfig'}" if running else "has crashed"))
    if not names:
        print("No test bed runs.")


@app.command()
def build() -> None:
    """Build the programs of every generation into the cache."""
    for module in MODULES:
        built(module, _say_build)


@app.command(hidden=True)
def supervise(name: Name = "default", generation: Versions = "newer", simulated: int = 0) -> None:
    """Run a test bed until a signal ends it."""
    folder = FOLDER / name
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _: stopping.append(signum))
    folder.mkdir(parents=True)
    (folder / "pid").write_text(str(os.getpid()))
    bed = Bed(folder, Settings(generation=generation), print)
    bed.start()
    try:
        bed.add_simulated_nodes(*(gpu_node(f"simulated-{number}", count=8) for number in range(simulated)))
        bed.write_kubectl()
        (folder / "ready").touch()
        while not stopping:
            signal.pause()
    finally:
        bed.stop()


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


def _print_usage(folder: Path) -> None:
    print(f"  export KUBECONFIG=$PWD/{folder}/kubeconfig")
    print(f"  {folder}/kubectl get nodes")


def main() -> None:
    """Run the command, and print an error of ours instead of a traceback."""
    try:
        app()
    except StepworksError as error:
        print(error, file=sys.stderr)
        sys.exit(2 if isinstance(error, UserError) else 1)


if __name__ == "__main__":
    main()
