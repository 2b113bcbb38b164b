import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from stepworks.components.training.train.component import train
from stepworks.kubeflow.readme import component_page, component_pages

COMPONENTS = Path(__file__).parents[3] / "components"


def test_a_page_describes_each_input_parameter_and_output() -> None:
    page = component_page("training", train)
    assert page.startswith("# training/train\n\nTrain a model")
    assert "| `train_features` | Dataset | What to train on: encoded rows for the built-in builders. |" in page
    assert "| `epochs` | Integer | `20` | The most passes over the training samples. |" in page
    assert "| `trained_model` | Model | The model folder, with the weights of the best epoch. |" in page
    assert "Runs in the `gpu` image." in page


def test_every_component_describes_everything_it_takes_and_gives() -> None:
    for path, page in component_pages(COMPONENTS).items():
        assert " |  |" not in page, f"{path} has a row without a meaning"


def test_the_check_tells_a_stale_page(tmp_path: Path) -> None:
    folder = tmp_path / "components" / "training" / "train"
    folder.mkdir(parents=True)
    (folder / "component.py").write_text((COMPONENTS / "training" / "train" / "component.py").read_text())
    command = [sys.executable, "-m", "stepworks.kubeflow.readme", str(tmp_path / "components")]
    stale = subprocess.run([*command, "--check"], capture_output=True, text=True, check=False)
    assert stale.returncode == 1
    assert "make docs" in stale.stderr
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert subprocess.run([*command, "--check"], capture_output=True, check=False).returncode == 0


def test_a_continued_description_is_one_sentence(write_pipeline: Callable[[str], Path]) -> None:
    namespace: dict[str, object] = {}
    path = write_pipeline("")
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    assert "| `a` | Integer | (must be given) | One number, and only one. |" in component_page("x", namespace["add"])
