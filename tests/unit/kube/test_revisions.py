"""An InferenceService in the mode Knative from write to write, and what KServe has to say before the next one."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepworks.errors import ConfigurationError
from stepworks.kube.builders.revisions import (
    as_before,
    beside_the_stable,
    first_version,
    for_good,
    read_serving,
    with_share,
)
from stepworks.kube.kinds.judgement import Failed, Pending, Succeeded
from stepworks.kube.kinds.manifests import Manifest
from stepworks.kube.kinds.merge_patches import merge_patch
from stepworks.kube.kinds.revisions import NewestReady, NewestWithoutTraffic, Revisions, TrafficShared, read_revisions

NAME = "flights-predictor"


def built(version: int, **predictor: Any) -> Manifest:
    """As `build_inference_service` builds it for a version."""
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": "flights",
            "labels": {"stepworks.dev/run": f"run-{version}"},
            "annotations": {"serving.kserve.io/deploymentMode": "Knative", "stepworks.dev/spec-hash": f"{version}"},
        },
        "spec": {"predictor": {"model": {"storageUri": f"pvc://registry/{version}"}, **predictor}},
    }


def told(
    service: Manifest, created: int, ready: int, rolled_out: int, shares: dict[int, int], *, is_ready: str = "True"
) -> Manifest:
    """The InferenceService with what KServe says of its revisions."""
    traffic = [{"revisionName": f"{NAME}-{number}", "percent": share} for number, share in shares.items()]
    status = {
        "components": {
            "predictor": {
                "latestCreatedRevision": f"{NAME}-{created}",
                "latestReadyRevision": f"{NAME}-{ready}",
                "latestRolledoutRevision": f"{NAME}-{rolled_out}",
                "traffic": traffic,
            }
        },
        "conditions": [{"type": "Ready", "status": is_ready}, {"type": "PredictorRouteReady", "status": "True"}],
    }
    return {**copy.deepcopy(service), "status": status}


def first_for_good() -> Manifest:
    return told(for_good(first_version(built(1, nodeSelector={"zone": "a"}), "1")), 1, 1, 1, {1: 100})


def test_a_first_version_has_all_traffic_and_is_on_trial_all_the_same() -> None:
    first = first_version(built(1), "1")
    assert first["spec"]["predictor"]["canaryTrafficPercent"] == 100
    assert (read_serving(first).version, read_serving(first).percent) == ("1", 100)
    kept = for_good(first)
    assert "canaryTrafficPercent" not in kept["spec"]["predictor"]
    assert merge_patch(first, kept) == {"spec": {"predictor": {"canaryTrafficPercent": None}}}


def test_a_trial_is_one_write_that_holds_all_that_its_end_takes() -> None:
    before = first_for_good()
    trial = beside_the_stable(before, built(2), "2")
    serving = read_serving(trial)
    assert (serving.version, serving.percent, serving.replaced) == ("2", 0, f"{NAME}-1")
    assert trial["spec"]["predictor"] == {"model": {"storageUri": "pvc://registry/2"}, "canaryTrafficPercent": 0}
    assert trial["metadata"]["labels"] == {"stepworks.dev/run": "run-2"}
    assert trial["metadata"]["annotations"]["stepworks.dev/spec-hash"] == "2"
    assert serving.stable
    assert (serving.stable.version, serving.stable.revision) == ("1", f"{NAME}-1")

    going_back = as_before(told(with_share(trial, 50), 2, 2, 1, {1: 50, 2: 50}))
    predictor = dict(going_back["spec"]["predictor"])
    assert predictor.pop("canaryTrafficPercent") == 0
    assert predictor == before["spec"]["predictor"]
    assert going_back["metadata"]["annotations"]["stepworks.dev/spec-hash"] == "1"
    assert read_serving(going_back).restoring
    assert read_serving(going_back).replaced == f"{NAME}-2"
    assert not read_serving(for_good(going_back)).restoring


def test_shares_change_nothing_that_would_make_a_revision() -> None:
    trial = beside_the_stable(first_for_good(), built(2), "2")
    assert merge_patch(trial, with_share(trial, 25)) == {"spec": {"predictor": {"canaryTrafficPercent": 25}}}


def test_a_trial_that_replaces_another_goes_back_to_the_one_that_serves() -> None:
    trial = told(beside_the_stable(first_for_good(), built(2), "2"), 2, 2, 1, {1: 100})
    other = read_serving(beside_the_stable(trial, built(3), "3"))
    assert other.stable
    assert (other.version, other.stable.version, other.replaced) == ("3", "1", f"{NAME}-2")


def test_what_is_not_ours_is_refused() -> None:
    for service, received in (
        (built(1), "no annotation stepworks.dev/version"),
        (_annotated("serving.kserve.io/deploymentMode", "Standard"), "one in the mode Standard"),
        (_annotated("stepworks.dev/stable", "{}"), "stepworks.dev/stable"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            read_serving(service)
        assert received in str(caught.value)
    with pytest.raises(ConfigurationError, match="no version to go back to"):
        as_before(first_version(built(1), "1"))


def _annotated(name: str, value: str) -> Manifest:
    service = first_version(built(1), "1")
    service["metadata"]["annotations"][name] = value
    return service


SHARED = TrafficShared(10, f"{NAME}-1", f"{NAME}-1")


@pytest.mark.parametrize(
    ("status", "expected", "reason"),
    [
        ((1, 1, 1, {1: 100}), Pending, "still flights-predictor-1"),  # Ready, and all of it from before
        ((2, 1, 1, {1: 100}), Pending, "flights-predictor-2 is not ready"),
        ((2, 2, 1, {1: 100}), Pending, "100 % to flights-predictor-1"),
        ((2, 2, 1, {1: 50, 2: 50}), Pending, "50 % to flights-predictor-1"),
        ((2, 2, 2, {2: 100}), Pending, "100 % to flights-predictor-2"),  # as it gives some of all traffic back
        ((2, 2, 2, {1: 90, 2: 10}), Pending, "KServe has not noted it"),
        ((2, 2, 1, {1: 90, 2: 10}), Succeeded, "10 % to flights-predictor-2"),
        ((2, 2, 0, {1: 90, 2: 10}), Failed, "takes flights-predictor-0"),
    ],
)
def test_a_share_has_come_about_when_the_revisions_say_so(status: Any, expected: type, reason: str) -> None:
    judged = SHARED.judge(told(built(2), *status))
    assert isinstance(judged, expected)
    assert reason in judged.reason


def test_all_traffic_is_for_good_when_kserve_has_noted_it() -> None:
    kept = TrafficShared(100, f"{NAME}-1", f"{NAME}-1")
    assert isinstance(kept.judge(told(built(2), 2, 2, 1, {2: 100})), Pending)
    assert isinstance(kept.judge(told(built(2), 2, 2, 2, {2: 100})), Succeeded)
    assert isinstance(kept.judge(told(built(2), 2, 2, 2, {2: 100}, is_ready="Unknown")), Pending)


def test_the_way_back_does_not_wait_for_the_version_that_fails() -> None:
    back = NewestWithoutTraffic()
    assert isinstance(back.judge(told(built(2), 2, 1, 1, {1: 100}, is_ready="False")), Succeeded)
    assert isinstance(back.judge(told(built(2), 2, 2, 1, {1: 50, 2: 50})), Pending)
    anew = NewestReady(f"{NAME}-2")
    assert isinstance(anew.judge(told(built(1), 2, 1, 1, {1: 100})), Pending)
    assert isinstance(anew.judge(told(built(1), 3, 1, 1, {1: 100}, is_ready="False")), Pending)
    assert isinstance(anew.judge(told(built(1), 3, 3, 1, {1: 100})), Succeeded)


def test_a_service_without_a_status_has_no_revisions() -> None:
    assert read_revisions(built(1)) == Revisions("", "", "", {})
    assert isinstance(TrafficShared(100).judge(built(1)), Pending)
    assert isinstance(NewestWithoutTraffic().judge(built(1)), Pending)


JSON = st.recursive(
    st.sampled_from([True, 0, 1, "", "x", [1], [1, 2]]),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


def merged(before: Any, changes: Any) -> Any:
    """What an API server makes of an object and a merge patch: RFC 7386, section 2."""
    if not isinstance(changes, dict):
        return changes
    result = dict(before) if isinstance(before, dict) else {}
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_makes_one_object_of_another(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert merged(before, merge_patch(before, after)) == after


def test_equal_objects_take_no_patch() -> None:
    assert merge_patch(built(1), built(1)) == {}
