import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

from stepworks.cli.compile import compile_for
from stepworks.errors import ConfigurationError, NotFoundError
from stepworks.kubeflow.pipeline import Pipeline, load_pipeline, load_pipelines, pipeline
from stepworks.placement.target import read_targets

Make = Callable[[str], Pipeline]

ONE = """
@pipeline(version="1.2.3")
def tiny(n: int = 1):
    \"\"\"Add one.

    More words.
    \"\"\"
    place(add(a=n, b=1), "small")
"""


def test_a_pipeline_knows_its_name_version_and_parameters(make_pipeline: Make) -> None:
    tiny = make_pipeline(ONE)
    assert (tiny.name, tiny.version, tiny.summary) == ("tiny", "1.2.3", "Add one.")
    assert list(tiny.parameters()) == ["n"]


def test_the_flagship_is_found_by_its_name() -> None:
    assert load_pipeline("tabular_train_and_deploy") is load_pipelines()["tabular_train_and_deploy"]


@pytest.mark.parametrize("version", ["1.0", "v1.0.0", "1.0.0-rc1", ""])
def test_a_wrong_version_is_refused(version: str) -> None:
    with pytest.raises(ConfigurationError, match=r"major\.minor\.patch"):
        pipeline(version=version)


def test_an_unknown_pipeline_is_told_with_those_there_are() -> None:
    with pytest.raises(NotFoundError, match="tabular_train_and_deploy"):
        load_pipeline("nonsense")


def test_a_function_that_kfp_cannot_trace_is_told(make_pipeline: Make) -> None:
    broken = make_pipeline(ONE.replace("add(a=n, b=1)", "add(a=n)"))
    with pytest.raises(ConfigurationError, match="tiny cannot be built"):
        broken.build(None)


def test_a_file_that_does_not_import_is_told(write_pipeline: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigurationError, match="no_such_module"):
        load_pipeline(str(write_pipeline("import no_such_module")))


def test_a_file_that_takes_another_pipeline_in_holds_its_own(write_pipeline: Callable[[str], Path]) -> None:
    other = "\nfrom stepworks.pipelines.tabular_train_and_deploy import tabular_train_and_deploy\n"
    assert load_pipeline(str(write_pipeline(other + ONE))).name == "tiny"


def test_an_absent_file_is_told() -> None:
    with pytest.raises(NotFoundError, match=r"absent\.py"):
        load_pipeline("absent.py")


@pytest.mark.parametrize(("text", "received"), [("", "none"), (ONE + ONE.replace("tiny", "other"), "tiny, other")])
def test_a_file_without_one_pipeline_is_told(write_pipeline: Callable[[str], Path], text: str, received: str) -> None:
    with pytest.raises(NotFoundError, match=received):
        load_pipeline(str(write_pipeline(text)))


def test_a_broken_module_is_told_and_hinders_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = importlib.import_module("stepworks.pipelines")
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    assert load_pipeline("tabular_train_and_deploy").name == "tabular_train_and_deploy"
    with pytest.raises(ConfigurationError, match=r"broken\.py does not import"):
        load_pipelines()
    with pytest.raises(ConfigurationError, match="nothing_of_that_name"):
        load_pipeline("broken")


def test_a_pipeline_is_compiled_for_the_targets_that_it_is_for(make_pipeline: Make) -> None:
    targets = read_targets(Path(__file__).parents[3] / "targets", ["a100", "mig"]).values()
    everywhere, only_mig = make_pipeline(ONE), make_pipeline(ONE.replace('"1.2.3"', '"1.2.3", targets=["mig"]'))
    assert [each.target for each in compile_for([everywhere], targets)] == ["a100", "mig"]
    assert [each.target for each in compile_for([only_mig], targets)] == ["mig"]
