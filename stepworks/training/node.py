"""What a pod of a TrainJob runs: `python -m stepworks.training.node <workspace> <seconds>`.

It is torchrun, which waits at its end if another pod is the cause of it. JobSet counts restarts by the pod that fails
first: if the peers of a preempted pod failed before it, the preemption would count as a failure of theirs.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from stepworks.training import outcome as outcomes
from stepworks.training.outcome import Outcome
from stepworks.training.workspace import Workspace


def main(root: Path, longest_wait: float) -> int:
    """Run the processes of one node, and wait for the pod that is to fail first.

    Args:
        root: The workspace.
        longest_wait: How long to wait for it at most, in seconds.

    Returns:
        The exit code: 0 if completed, 1 otherwise.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    workspace = Workspace(root)
    try:
        run(parse_args(["-m", "stepworks.training.worker", str(root)]))  # type: ignore[no-untyped-call]
    except ChildFailedError as error:
        ended = threading.Event()
        signal.signal(signal.SIGTERM, lambda _number, _frame: ended.set())
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        exit_codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        if caused_elsewhere(exit_codes, outcomes.read(workspace)):
            ended.wait(longest_wait)
        return 1
    return 0


def caused_elsewhere(exit_codes: Mapping[int, int], outcome: Outcome | None) -> bool:
    """Say whether processes ended because of one in another pod.

    Args:
        exit_codes: Of the processes of this pod that failed, by their ranks; negative for a signal.
        outcome: What the first process of any pod wrote of the end; None if none did.
    """
    killed = any(code < 0 and code != -signal.SIGTERM for code in exit_codes.values())
    if killed or outcome is None:
        return False
    return outcome.state != "failed" or outcome.lost_peer or outcome.rank not in exit_codes


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2])))
