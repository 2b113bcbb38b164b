from pathlib import Path

import pytest

from stepworks.errors import ConfigurationError, NotFoundError
from stepworks.training.spec import CheckpointSettings, LoopSettings, ParallelSettings, TrainingSpec
from stepworks.training.workspace import Workspace

BUILDERS = {"model": "package.module:model", "data": "package.module:data"}


def test_a_spec_comes_back_as_it_was_written(tmp_path: Path) -> None:
    spec = TrainingSpec(
        **BUILDERS,
        model_settings={"hidden": [8.0]},
        inputs={"train": "train"},
        loop=LoopSettings(batch_size=7),
        parallel=ParallelSettings(strategy="fsdp", precision="bf16"),
        checkpoints=CheckpointSettings(every_steps=3),
    )
    spec.write(tmp_path / "spec.json")
    assert TrainingSpec.read(tmp_path / "spec.json") == spec


def test_whole_numbers_that_kubeflow_hands_over_as_floats_are_integers_again() -> None:
    spec = TrainingSpec(
        **BUILDERS, model_settings={"width": 8.0, "hidden": [[4.0, 0.5]]}, data_settings={"of": {"rows": 2.0}}
    )
    assert repr(spec.model_settings) == "{'width': 8, 'hidden': [[4, 0.5]]}"
    assert repr(spec.data_settings) == "{'of': {'rows': 2}}"
    assert repr(TrainingSpec(entrypoint="a:b", settings={"rate": 1.5, "n": -3.0}).settings) == "{'rate': 1.5, 'n': -3}"


@pytest.mark.parametrize(
    ("given", "form"),
    [(BUILDERS, "builders"), ({"entrypoint": "package.module:train"}, "entrypoint"), ({"command": ["a"]}, "command")],
)
def test_the_form_is_what_was_given(given: dict[str, object], form: str) -> None:
    assert TrainingSpec(**given).form == form


@pytest.mark.parametrize(
    ("given", "received"),
    [
        ({}, "none of them"),
        ({**BUILDERS, "entrypoint": "a:b"}, "model and data and entrypoint"),
        ({"entrypoint": "a:b", "command": ["a"]}, "entrypoint and command"),
        ({"model": "a:b"}, "data ''"),
    ],
)
def test_anything_but_one_form_is_refused(given: dict[str, object], received: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        TrainingSpec(**given)
    assert received in caught.value.received


FUNCTION = {"entrypoint": "package.module:train"}
COMMAND = {"command": ["a"]}


@pytest.mark.parametrize(
    ("given", "other", "told"),
    [
        (FUNCTION, {"parallel": ParallelSettings(strategy="fsdp", timeout_seconds=5)}, "'strategy': 'fsdp', 'timeout"),
        (COMMAND, {"parallel": ParallelSettings(strategy="fsdp")}, "and a command"),
        (FUNCTION, {"model_settings": {"width": 8}}, "model_settings: {'width': 8}, and an entrypoint"),
        (COMMAND, {"data_settings": {"rows": 8}}, "data_settings: {'rows': 8}, and a command"),
        (COMMAND, {"settings": {"rate": 1}}, "settings: {'rate': 1}, and a command"),
        (BUILDERS, {"settings": {"rate": 1}}, "settings: {'rate': 1}, and model and data"),
    ],
)
def test_what_is_of_another_form_is_refused(given: dict[str, object], other: dict[str, object], told: str) -> None:
    defaults = TrainingSpec(**given).model_dump(include=set(other))
    assert TrainingSpec(**given, **defaults) == TrainingSpec(**given)
    with pytest.raises(ConfigurationError) as caught:
        TrainingSpec(**given, **other)
    assert told in caught.value.received


def test_a_wrong_setting_is_told_with_its_value_and_an_unknown_one_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="precision is 'fp8'"):
        ParallelSettings(precision="fp8")
    with pytest.raises(ConfigurationError, match="did you mean batch_size"):
        LoopSettings(batch=3)
    with pytest.raises(ConfigurationError, match="bf16, which needs no scaling"):
        ParallelSettings(precision="fp16", strategy="fsdp")


@pytest.mark.parametrize(
    ("monitor", "given", "maximize"),
    [
        ("validation_loss", None, False),
        ("validation_perplexity", None, False),
        ("validation_auc", None, True),
        ("validation_accuracy", None, True),
        ("validation_loss", True, True),
    ],
)
def test_which_value_is_the_best(monitor: str, given: bool | None, maximize: bool) -> None:
    assert LoopSettings(monitor=monitor, higher_is_better=given).maximize is maximize


def test_a_file_that_is_no_spec_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"spec\.json"):
        TrainingSpec.read(tmp_path / "spec.json")
    (tmp_path / "spec.json").write_text("{")
    with pytest.raises(ConfigurationError, match="no training spec"):
        TrainingSpec.read(tmp_path / "spec.json")


def test_a_process_finds_its_places_in_its_environment(tmp_path: Path) -> None:
    places = Workspace(tmp_path).environment({"train": "rows", "base": "/models/base"}, 20)
    assert places == {
        "STEPWORKS_WORKSPACE": str(tmp_path),
        "STEPWORKS_CHECKPOINTS": str(tmp_path / "checkpoints"),
        "STEPWORKS_MODEL": str(tmp_path / "model"),
        "STEPWORKS_METRICS": str(tmp_path / "metrics.jsonl"),
        "STEPWORKS_GRACE_SECONDS": "20",
        "STEPWORKS_INPUT_TRAIN": str(tmp_path / "inputs" / "rows"),
        "STEPWORKS_INPUT_BASE": "/models/base",
    }
