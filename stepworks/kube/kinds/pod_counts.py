"""Whether an object that makes pods itself has made fewer than it wants, kind by kind."""

from __future__ import annotations

from stepworks.kube.kinds.manifests import Manifest, status_of


def job_lacks_pods(manifest: Manifest) -> bool:
    """Whether a Job has fewer active pods than are left to run; one that is ending is replaced when it has ended."""
    spec, status = manifest.get("spec") or {}, status_of(manifest)
    left = (spec.get("completions") or spec.get("parallelism") or 1) - (status.get("succeeded") or 0)
    wanted = 0 if spec.get("suspend") else min(spec.get("parallelism", 1), left)
    return bool((status.get("active") or 0) + (status.get("terminating") or 0) < wanted)


def replicas_lack_pods(manifest: Manifest) -> bool:
    """Whether a ReplicaSet or a Deployment has fewer pods than replicas."""
    return bool((status_of(manifest).get("replicas") or 0) < (manifest.get("spec") or {}).get("replicas", 1))


def training_job_lacks_pods(manifest: Manifest) -> bool:
    """Whether a job of the training operator has fewer pods, ended ones included, than its replicas together."""
    spec = manifest.get("spec") or {}
    replicas: dict[str, Manifest] = next((value for key, value in spec.items() if key.endswith("ReplicaSpecs")), {})
    wanted = sum(each.get("replicas", 1) for each in replicas.values())
    counts = (status_of(manifest).get("replicaStatuses") or {}).values()
    made = sum(each.get(key) or 0 for each in counts for key in ("active", "succeeded", "failed"))
    return bool(made < wanted)
