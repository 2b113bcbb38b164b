"""Versions of a model as revisions, by the real controller of KServe in both generations; Knative is played.

Whether the real one follows is for tests/knative.
"""

from __future__ import annotations

from typing import Any

import pytest

from stepworks.errors import ConfigurationError, ConflictError, WorkloadFailedError
from stepworks.kube import model_revisions
from stepworks.kube.api.cluster import Cluster
from stepworks.kube.api.objects import apply, patch
from stepworks.kube.builders.inference_service import build_inference_service, inference_service_spec
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.model_revisions import ModelRevisions
from tests.control_plane.kube.played_knative import PlayedKnative
from tests.control_plane.serving.test_model_service import placed

MODEL = "flights"


def manifest(version: int, **changes: Any) -> Manifest:
    """A version for Triton, which comes with KServe."""
    spec = inference_service_spec(
        storage_uri=f"gs://models/flights/{version}",
        model_format="onnx",
        mode="Knative",
        placement=placed(node_selector={}, tolerations=[], accelerator=None),
        **changes,
    )
    return build_inference_service(spec, name=MODEL)


def revisions(cluster: Cluster, timeout: float = 60.0) -> ModelRevisions:
    return ModelRevisions(cluster, MODEL, timeout=timeout, say=lambda _: None)


newer = pytest.mark.parametrize("kubeflow_bed", ["newer"], indirect=True)


class KilledError(Exception):
    """Stands for the end of the process after a write."""


def test_a_version_is_tried_beside_another_and_kept(kubeflow_cluster: Cluster) -> None:
    model = revisions(kubeflow_cluster)
    with PlayedKnative(kubeflow_cluster) as knative:
        model.begin(manifest(1), "1", "run-1")
        model.keep("1")
        for version in ("2", "3"):
            model.attempt(manifest(int(version)), version, f"run-{version}")
            for percent in (10, 50, 100):
                model.share(version, percent)
            model.keep(version)
        serving = model.serving()
    assert serving
    assert (serving.version, serving.percent) == ("3", None)
    trials = [[{"1": 90, "2": 10}, {"1": 50, "2": 50}], [{"2": 90, "3": 10}, {"2": 50, "3": 50}]]
    assert knative.served() == [{"1": 100}, *trials[0], {"2": 100}, *trials[1], {"3": 100}]


def served_for_good(cluster: Cluster) -> ModelRevisions:
    """The first version, which serves for good."""
    model = revisions(cluster)
    model.begin(manifest(1), "1", "run-1")
    model.keep("1")
    return model


def try_and_give_back(model: ModelRevisions) -> None:
    """Five writes: the trial, its share of 50 %, of none again, the predictor from before, and the end of the trial."""
    model.attempt(manifest(2), "2", "run-2")
    model.share("2", 50)
    model.give_back("2")


@newer
@pytest.mark.parametrize("writes", [1, 2, 3, 4, 5])
def test_a_trial_that_is_killed_after_any_write_leaves_the_version_before_and_is_given_back(
    kubeflow_cluster: Cluster, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    left = writes

    def killed(*arguments: Any, **named: Any) -> Manifest:
        nonlocal left
        changed = patch(*arguments, **named)
        left -= 1
        if not left:
            raise KilledError
        return changed

    with PlayedKnative(kubeflow_cluster) as knative:
        served_for_good(kubeflow_cluster)
        monkeypatch.setattr(model_revisions, "patch", killed)
        with pytest.raises(KilledError):
            try_and_give_back(revisions(kubeflow_cluster))
        monkeypatch.undo()

        again = revisions(kubeflow_cluster)  # the process of a retry
        serving = again.serving()
        assert serving
        if serving.version == "2":
            again.give_back("2")
        else:
            again.restore()
        serving = again.serving()
        assert serving
        assert (serving.version, serving.percent) == ("1", None)
        again.attempt(manifest(3), "3", "run-3")
        again.share("3", 100)
        again.keep("3")
    trial = [{"1": 50, "2": 50}, {"1": 100}]
    told = knative.served()
    # The share that the second write gives may be taken back before Knative has seen it.
    assert told == [{"1": 100}, {"3": 100}] if writes < 2 else told[1:-1] == trial or (writes == 2 and not told[1:-1])
    assert (told[0], told[-1]) == ({"1": 100}, {"3": 100})


@newer
def test_a_version_that_never_becomes_ready_takes_nothing_from_the_one_before(kubeflow_cluster: Cluster) -> None:
    with PlayedKnative(kubeflow_cluster, broken=("flights/2",)) as knative:
        served_for_good(kubeflow_cluster)
        with pytest.raises(WorkloadFailedError, match="failed: BlockedByFailedLoad"):
            revisions(kubeflow_cluster, timeout=2).attempt(manifest(2), "2", "run-2")
        model = revisions(kubeflow_cluster)
        model.give_back("2")
        serving = model.serving()
    assert serving
    assert (serving.version, serving.percent) == ("1", None)
    assert knative.served() == [{"1": 100}]


@newer
def test_a_version_that_had_all_traffic_gives_it_back(kubeflow_cluster: Cluster) -> None:
    with PlayedKnative(kubeflow_cluster) as knative:
        model = served_for_good(kubeflow_cluster)
        model.attempt(manifest(2), "2", "run-2")
        model.share("2", 100)
        model.share("2", 10)  # as a roll-out that begins anew after a kill in its last stage
        model.share("2", 100)
        model.give_back("2")
    assert knative.served() == [{"1": 100}, {"2": 100}, {"1": 90, "2": 10}, {"2": 100}, {"1": 100}]


@newer
def test_another_hand_is_not_overruled(kubeflow_cluster: Cluster) -> None:
    with PlayedKnative(kubeflow_cluster) as knative:
        served_for_good(kubeflow_cluster)
        first, second = revisions(kubeflow_cluster), revisions(kubeflow_cluster)
        first.attempt(manifest(2), "2", "run-2")
        second.attempt(manifest(3), "3", "run-3")
        with pytest.raises(ConflictError) as caught:
            first.share("2", 50)
    assert "version 3 on trial with 0 % of the traffic" in str(caught.value)
    assert knative.served() == [{"1": 100}]


@newer
def test_one_in_standard_mode_is_refused(kubeflow_cluster: Cluster) -> None:
    """KServe ignores canaryTrafficPercent there, and a new version would replace the one before at once."""
    standard = build_inference_service(
        inference_service_spec(
            storage_uri="gs://models/flights/1", model_format="onnx", mode="Standard", placement=placed()
        ),
        name=MODEL,
    )
    apply(kubeflow_cluster, standard)
    with pytest.raises(ConfigurationError) as caught:
        revisions(kubeflow_cluster).serving()
    assert "Standard" in str(caught.value)


def test_a_version_before_the_last_that_kserve_takes_for_it_does_not_stay(kubeflow_cluster: Cluster) -> None:
    """KServe goes back a version too far where Knative tells of the new shares before it tells of the new revision."""
    with PlayedKnative(kubeflow_cluster) as knative:
        model = served_for_good(kubeflow_cluster)
        model.attempt(manifest(2), "2", "run-2")
        model.keep("2")
        knative.route_first = True
        with pytest.raises(WorkloadFailedError, match=r"(?s)takes flights-predictor-00001 .* instead of .*-00002"):
            model.attempt(manifest(3), "3", "run-3")
        knative.route_first = False
        model.give_back("3")
        serving = model.serving()
    assert serving
    assert (serving.version, serving.percent) == ("2", None)
    assert knative.served()[-1] == {"2": 100}
