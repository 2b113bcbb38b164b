import subprocess
import sys
from pathlib import Path

import pytest

from stepworks.errors import ConfigurationError
from stepworks.reference import check, resolve

SOURCE = """
import torch.nn as nn
from os import path
LIMIT: int = 3
first, (second, third) = 1, (2, 3)
raise RuntimeError("this module was imported")
def build(): ...
async def later(): ...
class Model: ...
if LIMIT:
    def conditional(): ...
try:
    import nothing_there as tried
except ImportError:
    tried = None
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    package = tmp_path / "checked_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('this package was imported')")
    (package / "module.py").write_text(SOURCE)
    (package / "all.py").write_text("from os import *")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "checked_package.module"


@pytest.mark.parametrize(
    "name", ["build", "later", "Model", "conditional", "tried", "nn", "path", "LIMIT", "first", "third"]
)
def test_what_a_module_binds_is_found_and_nothing_is_imported(own: str, name: str) -> None:
    check(f"{own}:{name}", role="model")


def test_a_star_may_bind_anything(own: str) -> None:
    check("checked_package.all:anything", role="model")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("checked_package.module:absent", r"is missing\n"),
        ("checked_package.module:biuld", "is missing; there is build"),
        ("checked_package.absent:build", "no module named 'checked_package.absent'"),
        ("absent.module:build", "no module named 'absent.module'"),
        ("checked_package.module.deeper:build", "no module named"),
        ("checked_package", "not of the form"),
    ],
)
def test_what_is_not_there_is_told(own: str, reference: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check(reference, role="model")


def test_the_built_in_builders_are_found_without_torch() -> None:
    script = (
        "import sys; from stepworks.reference import check;"
        "check('stepworks.training.tabular:build_model', role='model');"
        "import stepworks.training.spec, stepworks.training.workspace, stepworks.training.outcome,"
        " stepworks.training.launch;"
        "assert not {'torch', 'polars', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_module_that_fails_when_it_is_imported_is_told_by_resolve(own: str) -> None:
    with pytest.raises(RuntimeError, match="imported"):
        resolve(f"{own}:build", role="model")
