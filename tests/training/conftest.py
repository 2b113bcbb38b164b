from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stepworks.training.spec import TrainingSpec
from stepworks.training.workspace import Workspace
from tests.processes import marked
from tests.training.ranks import Ranks, Zygote

Start = Callable[..., Ranks]


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with started_zygote(tmp_path_factory.mktemp("zygote")) as program:
        yield program


@contextmanager
def started_zygote(mark: Path, *modules: str) -> Iterator[Zygote]:
    """A program that forks ranks; nothing of it is left afterwards."""
    program = Zygote(mark, *modules)
    yield program
    program.close()
    assert marked(mark) == []


@pytest.fixture
def start(zygote: Zygote) -> Iterator[Start]:
    """Starts the ranks of an attempt: `start(spec, workspace, world, faults)`; none outlives the test."""
    started: list[Ranks] = []

    def begin(spec: TrainingSpec, root: Path, world: int, faults: str = "") -> Ranks:
        workspace = Workspace(root)
        workspace.make()
        spec.write(workspace.spec)
        started.append(Ranks(zygote, workspace, world, faults))
        return started[-1]

    yield begin
    for ranks in started:
        ranks.kill()
