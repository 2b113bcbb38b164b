"""What is refused of a task before anything runs, and what is left to be seen then."""

from collections.abc import Callable

import pytest

from stepworks.errors import ConfigurationError
from stepworks.kubeflow.pipeline import Pipeline

Make = Callable[[str], Pipeline]

TABULAR = {"model": "stepworks.training.tabular:build_model", "data": "stepworks.training.tabular:read_rows"}
AREA = {"metric": "validation_auc", "goal": "maximize"}

TRAINING = """
from kfp import dsl
from kfp.dsl import Dataset
from stepworks.components.training.train.component import train
from stepworks.components.training.train_distributed.component import train_distributed
from stepworks.components.tuning.tune.component import tune

@component("cpu")
def make(rows: Output[Dataset]) -> dict:
    return {{}}

@pipeline(version="1.0.0"{declared})
def trained(epochs: int = 3, model: str = "nowhere.to:be_found"):
    rows = place(make(), "small")
    place({step}(train_features=rows.outputs["rows"], run="r", {given}), "training")
"""


def build(make_pipeline: Make, given: str, step: str = "train", declared: str = "") -> None:
    given = f'workspace="/mnt/checkpoints", {given}' if step == "train" else given
    make_pipeline(TRAINING.format(step=step, given=given, declared=declared)).build(None)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ('model="nowhere.to:be_found"', "'nowhere.to:be_found': no module named"),
        ('model="stepworks.training.tabular:build_nothing"', "names nothing that can be called"),
        ('data="stepworks.training.tabular"', "not of the form package.module:name"),
        ('entrypoint="nowhere:train"', "'nowhere:train': no module named"),
        ('entrypoint="stepworks.training.tabular:build_model", command=["a"]', "not clear what is to be trained"),
        ('loop={"learningrate": 1}', "learningrate"),
        ('loop={"batch_size": 0}', "batch_size is 0"),
        ("learning_rate=-1.0", "learning_rate is -1"),
        ('checkpoints={"keep": 1}', "keep"),
        ('parallel={"strategy": "fsdp", "precision": "fp16"}', "fp16 cannot be had"),
        ('command=["python"], parameters={"rate": 1}', "does not reach the command"),
    ],
)
def test_what_cannot_be_trained_is_refused(make_pipeline: Make, given: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as raised:
        build(make_pipeline, given)
    assert "It is the task train; nothing was started." in raised.value.__notes__
    assert any("in_images" in note for note in raised.value.__notes__) == ("nowhere" in given)


def test_a_package_of_the_image_alone_is_told_by_a_note_and_may_be_declared(make_pipeline: Make) -> None:
    given = 'model="only_there.churn:build_model", data="only_there.churn:read"'
    with pytest.raises(ConfigurationError) as raised:
        build(make_pipeline, given)
    assert "@pipeline(version=..., in_images=['only_there'])" in "".join(raised.value.__notes__)
    build(make_pipeline, given, declared=', in_images=["only_there"]')


def test_what_is_known_only_in_a_run_is_left_to_it(make_pipeline: Make) -> None:
    build(make_pipeline, 'model=model, epochs=epochs, loop={"monitor": model}')
    build(make_pipeline, 'command=["python", f"--epochs={epochs}", model], parameters={"rate": 1}')
    build(make_pipeline, 'parameters=rows.outputs["Output"]')
    build(make_pipeline, 'entrypoint=model, loop={"epochs": 5}')
    build(make_pipeline, 'entrypoint="stepworks.examples.trainer_lora:train", settings={"base_model": f"/{model}"}')


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ('loop={"epochs": epochs}', r"loop\['epochs'\]"),
        ('model_settings={"sizes": [8, epochs]}', r"model_settings\['sizes'\]\[1\]"),
        ('settings={"of": {"epochs": epochs}}, entrypoint=model', r"settings\['of'\]\['epochs'\]"),
    ],
)
def test_a_number_that_would_be_handed_over_as_text_is_refused(make_pipeline: Make, given: str, place: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{place} would be a text in a run") as raised:
        build(make_pipeline, given)
    assert "the parameter epochs of the type Integer" in raised.value.received


def test_a_training_in_pods_is_looked_at_too(make_pipeline: Make) -> None:
    given = 'name="train", image="i", placement={}, workspace="/mnt/shared", checkpoints={"keep": 1}'
    with pytest.raises(ConfigurationError, match="keep"):
        build(make_pipeline, given, step="train_distributed")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"training": {"model": "nowhere:build", "data": "nowhere:read"}}, "'nowhere:build'"),
        ({"training": {"model": "stepworks.training.tabular:build_model"}}, "The data builder is missing"),
        ({"training": {"command": ["python"]}}, "does not reach the command"),
        ({"space": {"rate": {"type": "double", "minimum": 1, "maximum": 0}}}, "there is nothing between them"),
        ({"algorithm": "cmaes"}, "cmaes varies two or more"),
        ({"metrics_collector": {"kind": "File", "port": 80}}, "and port is given"),
        ({"space": {"batch_size": {"type": "choice", "values": ["a", "b"]}}}, "batch_size is 'a'"),
        ({"training": {**TABULAR, "inputs": {"train": "/rows"}}}, "given inputs twice"),
        ({"training": {**TABULAR, "loop": []}}, "loop"),
        (
            {"training": {**TABULAR, "loop": {"monitor": "validation_loss"}}, "objective": AREA},
            "would not compute the objective's metric validation_auc",
        ),
    ],
)
def test_a_search_that_cannot_be_made_is_refused(make_pipeline: Make, given: dict[str, object], told: str) -> None:
    right: dict[str, object] = {
        "training": TABULAR,
        "space": {"rate": {"type": "double", "minimum": 0, "maximum": 1}},
        "objective": {"metric": "validation_loss", "goal": "minimize"},
    }

    def arguments(values: dict[str, object]) -> str:
        rows = 'validation_features=rows.outputs["rows"], transform=rows.outputs["rows"]'
        fixed = f'name="tune", workspace="/mnt/shared", image="i", placement={{}}, {rows}'
        return ", ".join([fixed, *(f"{name}={value!r}" for name, value in values.items())])

    build(make_pipeline, arguments(right), step="tune")
    build(make_pipeline, arguments({**right, "objective": AREA}), step="tune")
    build(make_pipeline, arguments(right).replace(', transform=rows.outputs["rows"]', ""), step="tune")
    with pytest.raises(ConfigurationError, match=told):
        build(make_pipeline, arguments({**right, **given}), step="tune")


def test_a_search_whose_number_of_trials_is_known_later_is_looked_at_too(make_pipeline: Make) -> None:
    training = {**TABULAR, "loop": {"monitor": "validation_loss"}}
    space = {"learning_rate": {"type": "double", "minimum": 0.1, "maximum": 1}}
    given = f'name="tune", workspace="/w", image="i", placement={{}}, space={space}, objective={AREA}, trials=epochs'
    build(make_pipeline, f"{given}, training={TABULAR}", step="tune")
    with pytest.raises(ConfigurationError, match="would not compute the objective's metric validation_auc"):
        build(make_pipeline, f"{given}, training={training}", step="tune")
