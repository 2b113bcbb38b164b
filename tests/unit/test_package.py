"""The package as it is built and installed."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from the sdist, as an index would get both."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
    )
    return next(folder.glob("*.whl"))


def test_the_wheel_from_the_sdist_holds_every_module(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    modules = {
        f"stepworks/{path.relative_to(ROOT)}"
        for top in ("components", "pipelines")
        for path in (ROOT / top).rglob("*.py")
    }
    modules |= {str(path.relative_to(ROOT)) for path in (ROOT / "stepworks").glob("**/*.py")}
    assert modules - held == set()
    assert "stepworks/py.typed" in held
    assert "stepworks/pipelines/contracts/nycflights13.yaml" in held


def test_the_wheel_is_installed_and_imported_in_an_environment_of_its_own(wheel: Path, tmp_path: Path) -> None:
    """The dependencies are taken from this environment; the library must come from the wheel."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel], check=True)
    site = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    dependencies = [entry for entry in sys.path if entry.endswith("site-packages")]
    script = (
        f"import sys; sys.path += {dependencies!r}\n"
        "import stepworks.components.training.train.component as component\n"
        "from stepworks.kubeflow.pipeline import load_pipelines\n"
        "print(component.__file__, *load_pipelines())"
    )
    printed = subprocess.run(
        [python, "-I", "-c", script], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    assert printed.startswith(str(site / "stepworks" / "components"))
    assert "tabular_train_and_deploy" in printed
