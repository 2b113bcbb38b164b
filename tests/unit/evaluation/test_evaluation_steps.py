"""The steps evaluate, compare and gate, one after another, with a trained model and a registry."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from kfp import dsl
from sklearn.metrics import roc_auc_score

from stepworks.components.evaluation.compare.component import compare
from stepworks.components.evaluation.evaluate.component import evaluate
from stepworks.components.evaluation.gate.component import gate
from stepworks.data.transform import apply_transform
from stepworks.data.transform_parameters import CategoricalFeature, NumericFeature, TransformParameters
from stepworks.errors import EvaluationError
from stepworks.evaluation.evaluate import evaluate as evaluate_document
from stepworks.registry.registry import CHAMPION, Metadata, Registry
from stepworks.report.documents import ComparisonDocument, EvaluationDocument, VerdictDocument
from stepworks.serving.package import build_package
from stepworks.training.spec import LoopSettings, TrainingSpec
from stepworks.training.train import train
from stepworks.training.workspace import Workspace

TRANSFORM = TransformParameters(
    target="late",
    numeric=(NumericFeature(name="wind", fill=0.0, mean=0.0, standard_deviation=1.0),),
    categorical=(CategoricalFeature(name="carrier", values=("AA", "B6")),),
)


def write_rows(path: Path, rows: int, seed: int) -> Path:
    """Raw rows: how late depends on the wind mostly, and a little on the carrier."""
    random = np.random.default_rng(seed)
    wind = random.normal(size=rows)
    carrier = random.choice(["AA", "B6"], size=rows)
    chance = 1 / (1 + np.exp(-(1.5 * wind + 0.5 * (carrier == "AA") - 0.5)))
    late = random.random(rows) < chance
    pl.DataFrame(
        {"row_id": np.arange(rows, dtype="uint32"), "wind": wind, "carrier": carrier, "late": late}
    ).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with raw and encoded rows, and a model trained on them."""
    folder = tmp_path_factory.mktemp("trained")
    for part, rows, seed in (("train", 3000, 1), ("validation", 500, 2), ("test", 2000, 3)):
        apply_transform(write_rows(folder / part, rows, seed), TRANSFORM, folder / f"{part}_features")
    TRANSFORM.write(folder / "transform")
    train(
        TrainingSpec(
            model="stepworks.training.tabular:build_model",
            data="stepworks.training.tabular:read_rows",
            model_settings={"hidden": [8.0]},
            inputs={
                "train": str(folder / "train_features"),
                "validation": str(folder / "validation_features"),
                "transform": str(folder / "transform"),
            },
            loop=LoopSettings(epochs=3, batch_size=128, learning_rate=0.02, monitor="validation_auc"),
        ),
        Workspace(folder),
    )
    return folder


def at(kind: type[dsl.Artifact], path: Path) -> dsl.Artifact:
    return kind(name=path.name, uri=str(path))


@pytest.fixture(scope="module")
def evaluated(trained: Path) -> tuple[Path, dsl.Metrics, dsl.ClassificationMetrics]:
    metrics, curves = dsl.Metrics(), dsl.ClassificationMetrics()
    evaluate.python_func(
        model=at(dsl.Model, trained / "model"),
        features=at(dsl.Dataset, trained / "test_features"),
        test=at(dsl.Dataset, trained / "test"),
        slices=["carrier"],
        predictions=at(dsl.Dataset, trained / "predictions"),
        evaluation=at(dsl.Artifact, trained / "evaluation.json"),
        metrics=metrics,
        curves=curves,
        page=at(dsl.HTML, trained / "page.html"),
    )
    return trained, metrics, curves


def run_compare(folder: Path, registry: Path) -> ComparisonDocument:
    compare.python_func(
        predictions=at(dsl.Dataset, folder / "predictions"),
        train=at(dsl.Dataset, folder / "train"),
        test=at(dsl.Dataset, folder / "test"),
        target="late",
        baseline_keys=["carrier"],
        model_name="late-flights",
        registry=str(registry),
        comparison=at(dsl.Artifact, folder / "comparison.json"),
    )
    return ComparisonDocument.read(folder / "comparison.json")


def run_gate(folder: Path, *, champion_margin: float = 0.005, **settings: Any) -> None:
    gate.python_func(
        evaluation=at(dsl.Artifact, folder / "evaluation.json"),
        comparison=at(dsl.Artifact, folder / "comparison.json"),
        champion_margin=champion_margin,
        verdict=at(dsl.Artifact, folder / "verdict.json"),
        page=at(dsl.Markdown, folder / "page.md"),
        **settings,
    )


def test_evaluate_leaves_predictions_documents_and_pages(evaluated) -> None:
    folder, metrics, curves = evaluated
    predictions = pl.read_parquet(folder / "predictions")
    document = EvaluationDocument.read(folder / "evaluation.json")
    area = roc_auc_score(predictions["target"], predictions["probability"])
    assert document.metrics[0].value == pytest.approx(area)
    assert area > 0.75
    assert {part.value for part in document.slices} == {"AA", "B6"}
    assert metrics.metadata["auc"] == document.metrics[0].value
    assert len(curves.metadata["confidenceMetrics"]) == len(document.roc.x)
    rows = [row["row"] for row in curves.metadata["confusionMatrix"]["rows"]]
    assert [sum(row) for row in rows] == [document.rows - document.positives, document.positives]
    assert rows[1][1] == document.confusion.true_positives
    assert (folder / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_first_model_is_compared_with_the_baseline_alone_and_passes(evaluated, tmp_path: Path) -> None:
    folder, *_ = evaluated
    comparison = run_compare(folder, tmp_path / "registry")
    assert [found.reference for found in comparison.comparisons] == ["historical rate"]
    assert comparison.comparisons[0].difference.low > 0.1

    run_gate(folder)

    verdict = VerdictDocument.read(folder / "verdict.json")
    assert verdict.verdict == "pass"
    assert "There is no champion yet" in (folder / "page.md").read_text(encoding="utf-8")


def test_the_same_model_as_the_champion_passes(evaluated, tmp_path: Path) -> None:
    """The champion answers from its package, through another runtime than the candidate."""
    folder, *_ = evaluated
    manifest = build_package(folder / "model", folder / "test", tmp_path / "package")
    registry = Registry(tmp_path / "registry")
    metadata = Metadata(run="earlier", created_by="test")
    champion = registry.register("late-flights", tmp_path / "package", manifest.digest, metadata)
    registry.set_alias("late-flights", CHAMPION, champion.version)

    comparison = run_compare(folder, tmp_path / "registry")

    assert comparison.comparisons[1].reference == "champion 1"
    assert comparison.comparisons[1].difference.value == pytest.approx(0, abs=1e-5)
    run_gate(folder, champion_margin=0.001)


@pytest.mark.parametrize(
    ("settings", "outcome"),
    [
        ({"smallest_rows": 2001}, "insufficient_data"),
        ({"smallest_class": 1001}, "insufficient_data"),
        ({"baseline_margin": 0.9}, "fail"),
    ],
)
def test_a_gate_asks_for_what_the_step_is_given(evaluated, tmp_path: Path, settings, outcome: str) -> None:
    folder, *_ = evaluated
    run_compare(folder, tmp_path / "registry")

    with pytest.raises(EvaluationError):
        run_gate(folder, **settings)

    assert VerdictDocument.read(folder / "verdict.json").verdict == outcome


def test_a_small_data_set_can_pass(evaluated, tmp_path: Path) -> None:
    folder, *_ = evaluated
    few = tmp_path / "few"
    few.mkdir()
    for name in ("predictions", "train", "test"):
        rows = pl.read_parquet(folder / name)
        (rows if name == "train" else rows.head(500)).write_parquet(few / name)
    evaluate_document(few / "predictions").write(few / "evaluation.json")
    run_compare(few, tmp_path / "registry")
    with pytest.raises(EvaluationError, match="insufficient_data"):
        run_gate(few)

    run_gate(few, smallest_rows=500)

    assert VerdictDocument.read(few / "verdict.json").verdict == "pass"


def test_a_gate_that_does_not_pass_leaves_its_verdict_and_fails(evaluated, tmp_path: Path) -> None:
    folder, *_ = evaluated
    comparison = run_compare(folder, tmp_path / "registry")
    found = comparison.comparisons[0]
    nothing = found.difference.model_copy(update={"value": 0.0, "low": -0.01, "high": 0.01})
    comparison.model_copy(update={"comparisons": [found.model_copy(update={"difference": nothing})]}).write(
        folder / "comparison.json"
    )

    with pytest.raises(EvaluationError, match="does not let this run ship the model") as caught:
        run_gate(folder)

    assert VerdictDocument.read(folder / "verdict.json").verdict == "fail"
    assert "0.0100" in caught.value.received
    assert (folder / "page.md").read_text(encoding="utf-8").startswith("# Verdict: fail")


def test_a_verdict_that_somebody_overrides_says_why_and_lets_the_model_go_on(evaluated, tmp_path: Path) -> None:
    folder, *_ = evaluated
    run_compare(folder, tmp_path / "registry")
    run_gate(folder, override="not needed")
    assert VerdictDocument.read(folder / "verdict.json").override == ""

    run_gate(folder, baseline_margin=0.9, override=" The old one is withdrawn; said by A. Person. ")
    judged = VerdictDocument.read(folder / "verdict.json")
    assert (judged.verdict, judged.override) == ("fail", "The old one is withdrawn; said by A. Person.")
    assert (folder / "page.md").read_text().endswith("\nOverridden: The old one is withdrawn; said by A. Person.\n")
    with pytest.raises(EvaluationError, match="the parameter override"):
        run_gate(folder, baseline_margin=0.9, override="  ")
