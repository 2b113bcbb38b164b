"""Claims, mounts, and what else a pod is given: wrong ones are told when they are built."""

from typing import Any

import pytest
from pydantic import ValidationError

from stepworks.placement.placement import Placement
from stepworks.placement.storage import Claim, ConfigMapSource, Mount, SecretSource

CPU = {"cpu": {"request": "4", "limit": "4"}, "memory": {"request": "16Gi", "limit": "16Gi"}}


def placement(**changed: Any) -> Placement:
    return Placement.model_validate(CPU | changed)


@pytest.mark.parametrize(
    ("changed", "annotations"),
    [
        ({}, {}),
        ({"workload": "training"}, {"sidecar.istio.io/inject": "false"}),
        (
            {"workload": "training", "annotations": {"team": "a"}},
            {"sidecar.istio.io/inject": "false", "team": "a"},
        ),
        (
            {"workload": "training", "annotations": {"sidecar.istio.io/inject": "true"}},
            {"sidecar.istio.io/inject": "true"},
        ),
    ],
)
def test_training_has_no_sidecar_unless_the_file_says_so(changed: dict[str, Any], annotations: Any) -> None:
    assert placement(**changed).pod_annotations == annotations


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": {"kueue.x-k8s.io/queue-name": "a"}}, "written by queue: give queue instead"),
        ({"labels": {"stepworks.dev/priority-class": "a"}}, "written by priority_class"),
        ({"labels": {"a": "b" * 64}}, "no value of a label"),
        ({"labels": {"a/b/c": "d"}}, "no key of a label"),
        ({"labels": {"/b": "d"}}, "no key of a label"),
        ({"annotations": {"a b": "c"}}, "no key of a label"),
        ({"queue": "Team A"}, "queue"),
        ({"priority_class": "Training"}, "priority_class"),
        ({"service_account": "a_b"}, "service_account"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"image_pull_secrets": ["A"]}, "image_pull_secrets"),
    ],
)
def test_a_wrong_field_of_the_pod_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        placement(**changed)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "s"}, "one of env and mount_path, and has none"),
        ({"name": "s", "env": {"k": "V"}, "mount_path": "/s"}, "and has both"),
        ({"name": "s", "env": {"k": "1V"}}, "env"),
        ({"name": "s.t", "mount_path": "/s"}, "cannot be mounted: KFP names the volume by it"),
        ({"name": "s" * 64, "mount_path": "/s"}, "at most 63 long"),
        ({"name": "s", "mount_path": "s"}, "must be absolute"),
    ],
)
@pytest.mark.parametrize("kind", [SecretSource, ConfigMapSource])
def test_a_wrong_secret_or_config_map_is_refused(kind: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        kind.model_validate(fields)
    assert kind(name="s.t", env={"k": "V"})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"secrets": [{"name": "a", "mount_path": "/x"}], "config_maps": [{"name": "b", "mount_path": "/x/"}]},
            "the Secret a and the ConfigMap b are both mounted at /x",
        ),
        (
            {"secrets": [{"name": "a", "mount_path": "/x"}], "config_maps": [{"name": "a", "mount_path": "/y"}]},
            "would both be the volume a of the pod",
        ),
        (
            {"secrets": [{"name": "a", "mount_path": "/dev/shm"}], "shared_memory": "1Gi"},
            "the Secret a and shared_memory are both mounted at /dev/shm",
        ),
    ],
)
def test_two_volumes_that_clash_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        placement(**changed)


AT = {"mount_path": "/mnt/x", "access_mode": "ReadWriteMany"}


@pytest.mark.parametrize("mode", ["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"])
def test_every_access_mode_is_taken(mode: str) -> None:
    assert Mount.model_validate({"claim": "a", "mount_path": "/a", "access_mode": mode}).access_mode == mode


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"claim": "team.data"}, "claim"),
        ({"claim": "a" * 64}, "claim"),
        ({"mount_path": "/"}, "below /"),
        ({"mount_path": "/a/../b"}, r"without \.\."),
        ({"mount_path": "/a:b"}, "colons"),
        ({"mount_path": "/kfp-workspace"}, "KFP's own"),
        ({"mount_path": "/kfp-workspace/x"}, "KFP's own"),
        ({"sub_path": "../x"}, "sub path"),
        ({"access_mode": "RWO"}, "access_mode"),
        ({"access_mode": "ReadOnlyMany"}, "read_only must be true"),
    ],
)
def test_a_wrong_mount_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Mount.model_validate({"claim": "a", **AT} | changed)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (AT, "exactly one of claim, create, workspace and gcs, and has none"),
        ({**AT, "claim": "a", "create": {"size": "1Gi"}}, "has claim and create"),
        ({**AT, "workspace": {"size": "1Gi"}}, "KFP mounts a workspace at /kfp-workspace itself"),
        ({"access_mode": "ReadWriteOnce", "claim": "a"}, "mount_path is missing"),
        ({**AT, "create": {"size": "1Gi"}, "read_only": True}, "starts empty"),
        ({**AT, "create": {"size": "1Gi"}, "sub_path": "a"}, "starts empty"),
        ({**AT, "create": {"size": "1Gi", "storage_class": ""}}, "storage_class"),
        ({**AT, "create": {"size": "1.5Gi"}}, "size"),
        ({**AT, "claim": "a", "access_mode": "ReadOnlyMany"}, "read_only must be true"),
    ],
)
def test_a_wrong_claim_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Claim.model_validate(fields)
