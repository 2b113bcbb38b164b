"""What the tests of training jobs have in common: the smallest one, and one with everything."""

from __future__ import annotations

from typing import Any

from stepworks.kube.builders.workload import TrainingJobSpec

RUN = "6f1d2c3b-1111-4222-8333-444455556666"
IMAGE = "registry.example.com/gpu:1"
CPU: dict[str, Any] = {"cpu": {"request": "1", "limit": "1"}, "memory": {"request": "1Gi", "limit": "1Gi"}}
GPU: dict[str, Any] = {
    **CPU,
    "workload": "training",
    "accelerator": {"resource": "nvidia.com/gpu", "count": 4},
    "shared_memory": "512Mi",
    "node_selector": {"gpu-type": "a100-80gb"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "service_account": "worker",
}
SECRET = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "store", "key": "key", "optional": False}}}
CLAIM = {"claim": "runs", "mount_path": "/mnt/runs", "access_mode": "ReadWriteMany"}
RESOURCES = {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": "4"}


def training_job(placement: dict[str, Any] | None = None, **changes: Any) -> TrainingJobSpec:
    """A training job on CPUs, unless a placement is given."""
    return TrainingJobSpec.model_validate(
        {"image": IMAGE, "command": ["train"], "placement": placement or CPU, **changes}
    )


def large_job(**placement: Any) -> TrainingJobSpec:
    """Two nodes of four GPUs with variables, a Secret and a claim."""
    return training_job(
        {**GPU, **placement},
        nodes=2,
        arguments=["--fast"],
        environment={"A": "1"},
        secrets=[{"name": "store", "env": {"key": "KEY"}}],
        mounts=[CLAIM],
        active_deadline_seconds=600,
    )


def large_pod(container: str, **spec: Any) -> dict[str, Any]:
    """The pod template of `large_job`."""
    return {
        "metadata": {"labels": {"stepworks.dev/run": RUN}, "annotations": {"sidecar.istio.io/inject": "false"}},
        "spec": {
            "terminationGracePeriodSeconds": 30,
            "containers": [
                {
                    "name": container,
                    "image": IMAGE,
                    "command": ["train"],
                    "args": ["--fast"],
                    "env": [{"name": "A", "value": "1"}, SECRET],
                    "resources": {"requests": RESOURCES, "limits": RESOURCES},
                    "volumeMounts": VOLUME_MOUNTS,
                }
            ],
            "nodeSelector": GPU["node_selector"],
            "tolerations": GPU["tolerations"],
            "serviceAccountName": "worker",
            "volumes": VOLUMES,
            **spec,
        },
    }


VOLUMES = [
    {"name": "runs", "persistentVolumeClaim": {"claimName": "runs"}},
    {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "512Mi"}},
]
VOLUME_MOUNTS = [
    {"name": "runs", "mountPath": "/mnt/runs"},
    {"name": "shared-memory", "mountPath": "/dev/shm"},
]
