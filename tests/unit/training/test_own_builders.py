"""Training and predicting with a model builder and a data builder that are not the library's."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import torch

from stepworks.data.transform_parameters import TransformParameters
from stepworks.errors import ConfigurationError, DataError, EvaluationError, TrainingError
from stepworks.training.model_directory import save_model
from stepworks.training.predict import predict
from stepworks.training.spec import LoopSettings, TrainingSpec
from stepworks.training.train import train
from stepworks.training.trial import try_model
from stepworks.training.workspace import Workspace

# One tensor of two columns, one of which the built-in rows do not have, and a target that they do not know.
SOURCE = """
import hashlib
import polars as pl
import torch


class Line(torch.nn.Module):
    def __init__(self, width, scale):
        super().__init__()
        self.line = torch.nn.Linear(width, 1)
        self.scale = scale

    def forward(self, features):
        return self.scale * self.line(features).squeeze(1)

    def loss(self, logits, targets):
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)


def build_model(transform, *, scale=1.0):
    return Line(2, scale)


class Rows:
    def __init__(self, table):
        self.features = torch.from_numpy(table.select("wind", "row_id").to_numpy().astype("float32"))
        self.features[:, 1] /= 1000
        self.calm = torch.from_numpy((table["wind"].to_numpy() < 0).astype("float32"))

    def __len__(self):
        return len(self.calm)

    def take(self, indices):
        return (self.features[indices],), self.calm[indices]

    def fingerprint(self):
        return hashlib.sha256(self.features.numpy().tobytes()).hexdigest()


def read_rows(features, transform):
    return Rows(pl.read_parquet(features))


def changed_rows(features, transform, *, reverse=False):
    rows = Rows(pl.read_parquet(features))
    rows.features = -rows.features if reverse else rows.features
    return rows


# What a user may get wrong.

def too_wide(transform):
    return Line(5, 1.0)


class Column(Line):
    def forward(self, features):
        return self.line(features)


def column(transform):
    return Column(2, 1.0)


class Multiclass(Line):
    def loss(self, logits, targets):
        return torch.nn.functional.cross_entropy(logits, targets.long()[:, None])


def multiclass(transform):
    return Multiclass(2, 1.0)


class Bare(Rows):
    def take(self, indices):
        return self.features[indices], self.calm[indices]


def bare(features, transform):
    return Bare(pl.read_parquet(features))


class Wide(Rows):
    def take(self, indices):
        return (self.features[indices],), self.features[indices]


def wide(features, transform):
    return Wide(pl.read_parquet(features))


class Short(Rows):
    def take(self, indices):
        return (self.features[:1],), self.calm[indices]


def short(features, transform):
    return Short(pl.read_parquet(features))


class Alone(Rows):
    def take(self, indices):
        return self.features[indices]


def alone(features, transform):
    return Alone(pl.read_parquet(features))


class Vector(Line):
    def loss(self, logits, targets):
        return logits - targets


def vector(transform):
    return Vector(2, 1.0)


class Torn(Rows):
    def take(self, indices):
        from stepworks.errors import DataError

        raise DataError("Row group 7 is torn")


def torn(features, transform):
    return Torn(pl.read_parquet(features))


class Classes(Rows):
    classes = 3

    def take(self, indices):
        return (self.features[indices],), self.calm[indices].long()


def classes(features, transform):
    return Classes(pl.read_parquet(features))


class TwoClasses(Line):
    def forward(self, features):
        return self.line(features).expand(-1, 2) * self.scale

    def loss(self, logits, targets):
        return torch.nn.functional.cross_entropy(logits, targets)


def two_classes(transform):
    return TwoClasses(2, 1.0)


def nothing(features, transform):
    return None


def without_transform(features):
    return Rows(pl.read_parquet(features))


def every_other(features, transform):
    return Rows(pl.read_parquet(features).gather_every(2))
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of an importable module with builders of its own."""
    name = f"own_builders_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield name
    sys.modules.pop(name, None)


def run(
    features: Path,
    folder: Path,
    model: str,
    data: str,
    data_settings: dict[str, object] | None = None,
    **settings: object,
) -> None:
    train(
        TrainingSpec(
            model=model,
            data=data,
            model_settings=settings,
            data_settings=data_settings or {},
            inputs={name: str(features / name) for name in ("train", "validation")} | {"transform": str(features)},
            loop=LoopSettings(epochs=2, batch_size=100, learning_rate=0.5, monitor="validation_auc"),
        ),
        Workspace(folder),
    )


def test_a_model_and_rows_of_ones_own_are_trained_and_asked(features: Path, tmp_path: Path, own: str) -> None:
    run(features, tmp_path, f"{own}:build_model", f"{own}:read_rows", scale=3.0)
    predictions = predict(tmp_path / "model", features / "validation")
    table = pl.read_parquet(features / "validation")
    assert predictions["row_id"].to_list() == table["row_id"].to_list()
    calm = (table["wind"] < 0).to_list()
    assert predictions["target"].cast(pl.Boolean).to_list() == calm
    right = (predictions["probability"] > 0.5) == pl.Series(calm)
    assert right.mean() > 0.95  # type: ignore[operator]  # the mean of booleans is a number


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        ("too_wide", "read_rows", r"forward, given \(float32 \[2, 2\]\), said RuntimeError: .*2x2 and 5x1"),
        ("stepworks.training.tabular:build_model", "read_rows", r"forward, given \(float32 \[2, 2\]\), said TypeError"),
        ("column", "read_rows", r"forward, given \(float32 \[2, 2\]\), returned \(float32 \[2, 1\]\)"),
        ("multiclass", "read_rows", r"loss, given \(float32 \[2\], float32 \[2\]\), said"),
        ("build_model", "bare", r"take returned \(float32 \[2, 2\], float32 \[2\]\)"),
        (
            "build_model",
            "wide",
            r"forward, given \(float32 \[2, 2\]\), returned \(float32 \[2\]\)(?s:.*)shape \(2, 2\)",
        ),
        ("build_model", "nothing", "does not return samples"),
        ("two_classes", "classes", "logits of 2 classes, and targets of 3 classes"),
        ("build_model", "short", r"take of 2 samples returned inputs \(float32 \[1, 2\]\) and targets"),
        ("build_model", "alone", r"take returned \(float32 \[2, 2\]\)"),
        ("vector", "read_rows", r"loss, given \(float32 \[2\], float32 \[2\]\), returned \(float32 \[2\]\)"),
        ("build_model", "without_transform", r"without_transform\(features\)"),
    ],
)
def test_builders_that_do_not_fit_are_told_before_the_first_epoch(
    features: Path, tmp_path: Path, own: str, model: str, data: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        run(features, tmp_path, model if ":" in model else f"{own}:{model}", f"{own}:{data}")
    assert not list(tmp_path.glob("checkpoints/*"))


def test_what_the_samples_say_themselves_is_not_wrapped(features: Path, tmp_path: Path, own: str) -> None:
    with pytest.raises(DataError, match=r"^Row group 7 is torn"):
        run(features, tmp_path, f"{own}:build_model", f"{own}:torn")


def test_a_model_is_asked_about_rows_that_are_read_as_in_training(features: Path, tmp_path: Path, own: str) -> None:
    run(features, tmp_path, f"{own}:build_model", f"{own}:changed_rows", {"reverse": True}, scale=3.0)
    predictions = predict(tmp_path / "model", features / "validation")
    right = (predictions["probability"] > 0.5) == (predictions["target"] == 1)
    assert right.mean() > 0.95  # type: ignore[operator]  # the mean of booleans is a number


def test_a_model_of_several_logits_is_not_asked_for_probabilities(features: Path, tmp_path: Path, own: str) -> None:
    module = importlib.import_module(own)
    weights = module.two_classes(None).state_dict()
    transform = TransformParameters.read(features)
    save_model(tmp_path / "model", weights, transform, f"{own}:two_classes", {}, f"{own}:classes", data_settings={})
    with pytest.raises(EvaluationError, match=r"outputs of shape \(1000, 2\)(?s:.*)one logit and one target"):
        predict(tmp_path / "model", features / "validation")


def test_a_trial_leaves_the_random_generator_alone(features: Path, tmp_path: Path, own: str) -> None:
    module = importlib.import_module(own)
    noisy = module.build_model(None)
    noisy.register_forward_hook(lambda _module, _inputs, output: output + torch.rand(len(output)))
    torch.manual_seed(7)
    before = torch.get_rng_state()
    rows = module.read_rows(features / "train", None)
    try_model(noisy, rows, torch.device("cpu"), model="noisy", data="rows")
    assert torch.equal(torch.get_rng_state(), before)


def test_rows_left_out_by_the_data_builder_are_told_when_asked(features: Path, tmp_path: Path, own: str) -> None:
    run(features, tmp_path, f"{own}:build_model", f"{own}:every_other")
    with pytest.raises(DataError, match=r"500 rows of .*every_other, 1000 rows"):
        predict(tmp_path / "model", features / "validation")


def test_a_model_file_without_its_data_builder_is_told(features: Path, tmp_path: Path, own: str) -> None:
    run(features, tmp_path, f"{own}:build_model", f"{own}:read_rows")
    path = tmp_path / "model" / "model.json"
    content = json.loads(path.read_text())
    assert content.pop("data") == f"{own}:read_rows"
    path.write_text(json.dumps(content))
    with pytest.raises(TrainingError, match="data"):
        predict(tmp_path / "model", features / "validation")
