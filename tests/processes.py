"""Finding the processes that a test started, however deep.

What a test starts inherits a mark in its environment, so that the processes of tests beside it are not counted.
"""

import os

import psutil

MARK = "STEPWORKS_TEST_MARK"


def environment_with(mark: object) -> dict[str, str]:
    """The environment of this process, with a mark for what is started with it."""
    return {**os.environ, MARK: str(mark)}


def marked(mark: object) -> list[psutil.Process]:
    """The processes that were started with a mark and have not ended."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(mark) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def alive(pid: int) -> bool:
    """Whether a process has not ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
