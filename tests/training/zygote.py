"""Imports what a training process needs once, and forks a process for each rank that a test asks for.

Lines of JSON come on standard input and are answered on standard output: `{"start": {...}, "root": ..., "log": ...}`
forks a rank with that environment and answers with its process id; `{"ended": []}` answers with the exit codes of
those that ended, by process id. Its arguments are further modules to import.
"""

import gc
import importlib
import json
import os
import sys
from pathlib import Path

import stepworks.training.train  # noqa: F401  # what the worker would import
import tests.training.small  # noqa: F401
from stepworks.training import worker


def main() -> None:
    """Answer until the input ends."""
    for module in sys.argv[1:]:
        importlib.import_module(module)
    gc.freeze()  # or each rank would copy all of this program's memory to look for what it can free
    ended: dict[int, int] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            pid = os.fork()
            if pid == 0:
                _become(request)
            answer: object = pid
        else:
            while (found := _reap()) is not None:
                ended[found[0]] = found[1]
            answer = ended
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _reap() -> tuple[int, int] | None:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, os.waitstatus_to_exitcode(status)) if pid else None


def _become(request: dict[str, object]) -> None:
    """Be a rank: in a session of its own, as torchrun's are, and without this program's pipes."""
    os.setsid()
    environment = request["start"]
    assert isinstance(environment, dict)
    os.environ.update(environment)
    descriptor = os.open(str(request["log"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.exit(worker.main(Path(str(request["root"]))))


if __name__ == "__main__":
    main()
    os._exit(0)  # triton tells at length what it does not free
