"""Packages of other formats than our own, deployed and rolled out by the same steps on the servers for them."""

from pathlib import Path

import httpx
import joblib
import numpy as np
import polars as pl
import pytest
import yaml
from kfp import dsl
from kfp.dsl import Artifact, Dataset, Output
from sklearn.linear_model import LogisticRegression

from stepworks.components.serving.compare_answers.component import compare_answers
from stepworks.components.serving.serve_version.component import serve_version
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply, get
from stepworks.kube.api.references import Reference
from stepworks.kubeflow.component import component
from stepworks.kubeflow.pipeline import claim_path, pipeline
from stepworks.kubeflow.place import place
from stepworks.kubeflow.placement_of import placement_of
from stepworks.report.shadow_document import ShadowDocument
from stepworks.serving.formats.estimators import package_estimator
from stepworks.serving.formats.huggingface import package_language_model
from stepworks.serving.manifest import Samples
from testbed.bed import Bed
from tests.control_plane.jobs import ROOT
from tests.control_plane.serving.team import MODEL, Team
from tests.unit.serving.formats.language import write_language_model

pytestmark = pytest.mark.parametrize("serving_bed", ["newer"], indirect=True)

NAMES = ["a", "b", "c"]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    values = np.random.default_rng(3).normal(size=(60, 3))
    pl.DataFrame(values, NAMES).write_parquet(tmp_path / "rows.parquet")
    return tmp_path / "rows.parquet"


def estimator(rows: Path, destination: Path, seed: int) -> None:
    values = pl.read_parquet(rows).to_numpy()
    target = (values @ np.random.default_rng(seed).normal(size=3) > 0).astype(int)
    joblib.dump(LogisticRegression().fit(values, target), rows.parent / f"{seed}.joblib")
    package_estimator(rows.parent / f"{seed}.joblib", rows, destination, format="sklearn", features=NAMES)


def test_a_model_of_scikit_learn_is_rolled_out_on_kserves_own_server(
    serving_bed: Bed, serving_cluster: Cluster, rows: Path, tmp_path: Path
) -> None:
    team = Team(serving_bed, serving_cluster, tmp_path)
    team.register_package(1, lambda package: estimator(rows, package, 1))
    team.go_back()
    run = team.register_package(2, lambda package: estimator(rows, package, 2))
    deployed = team.deploy(2)
    assert (deployed.stable_version, deployed.candidate_version) == ("1", "2")
    pl.DataFrame({"features": pl.read_parquet(rows).to_numpy().tolist()}).write_parquet(run / "requests")
    team.step("compare-answers", 2, ["deployment", "requests"], ["comparison", "page"], comparing)
    found = ShadowDocument.read(run / "comparison")
    assert (found.compared, found.failed_candidate, found.failed_stable) == (60, 0, 0)
    assert 0 < found.differing < 60
    course = team.roll_out(2)
    assert course.outcome == "promoted"
    assert all(stage.candidate.probes for stage in course.stages)
    assert team.versions() == [f"{MODEL}-v2"]
    samples = Samples.read(run / "package")
    values = [value for row in samples.rows for value in row["features"]]
    tensor = {"name": "features", "datatype": "FP64", "shape": [len(samples.rows), 3], "data": values}
    answer = ask(serving_cluster, {"inputs": [tensor]})
    assert answer["model_name"] == f"{MODEL}-v2"
    assert answer["outputs"][0]["data"] == samples.answers


@component("serving")
def record(requests: Output[Dataset], deployment: Output[Artifact]) -> None:
    """Stand for the steps before; it is compiled only."""


@pipeline(version="1.0.0")
def comparing() -> None:
    """Compare the answers of two versions."""
    before = place(record(), "small")
    place(
        compare_answers(
            deployment=before.outputs["deployment"],
            requests=before.outputs["requests"],
            registry=claim_path("registry"),
            tolerance=0.5,
            allowed_share=1.0,
        ),
        "effects",
        mounts=["registry"],
    )


@pipeline(version="1.0.0")
def on_transformers() -> None:
    """Serve a language model."""
    place(
        serve_version(
            name=MODEL,
            version=1,
            registry=claim_path("registry"),
            run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            placement=placement_of("serving", mounts=["registry"]),
            service={"runtime": "stepworks-transformers"},
        ),
        "effects",
        mounts=["registry"],
    )


def test_a_language_model_goes_on_with_a_prompt(serving_bed: Bed, serving_cluster: Cluster, tmp_path: Path) -> None:
    runtime = (ROOT / "cluster" / "serving-runtimes" / "stepworks-transformers.yaml").read_text()
    apply(serving_cluster, yaml.safe_load(runtime))
    pl.DataFrame({"text": ["a b", "c d e", "g"]}).write_parquet(tmp_path / "prompts.parquet")
    base = write_language_model(tmp_path / "base")
    team = Team(serving_bed, serving_cluster, tmp_path)
    run = team.register_package(
        1, lambda package: package_language_model(base, tmp_path / "prompts.parquet", package, new_tokens=8)
    )
    team.step("serve-version", 1, [], ["deployment"], on_transformers)
    samples = Samples.read(run / "package")
    assert samples.texts
    for row, text in zip(samples.rows, samples.texts, strict=True):
        body = {"model": "/mnt/models", "prompt": row["text"], "max_tokens": 8, "temperature": 0}
        assert ask(serving_cluster, body)["choices"][0]["text"] == text


def ask(cluster: Cluster, body: dict[str, object]) -> dict[str, object]:
    """What clients get at the model's address."""
    service = get(cluster, Reference("v1", "Service", MODEL))
    answer = httpx.post(f"http://{service['spec']['clusterIP']}", json=body, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer.json()
