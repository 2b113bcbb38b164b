"""Deploy a registered model beside the one that serves."""

from typing import Any

from kfp.dsl import Artifact, Input, Model, Output

from stepworks.kubeflow.component import component


@component("serving")
def deploy(
    package: Input[Model],
    verdict: Input[Artifact],
    registration: Input[Artifact],
    registry: str,
    deployment: Output[Artifact],
    run: str = "",
    placement: dict[str, Any] = {},  # noqa: B006  # KFP reads the default; the body does not change it
    service: dict[str, Any] = {},  # noqa: B006
) -> None:
    """Start a registered version beside the champion, with no traffic yet: by KServe, or by processes on a laptop.

    Args:
        package: The package's folder; what is served is the registry's copy of it.
        verdict: What the gate said; anything but a pass is refused.
        registration: The version to deploy.
        registry: The registry's folder; below a mounted claim in a cluster.
        deployment: Where the service is.
        run: The id of the run. This and what follows is for a cluster only.
        placement: Where the model server runs: `placement_of("serving", mounts=["registry"])`.
        service: Fields of `stepworks.kube.builders.inference_service.InferenceServiceSpec`: `runtime`, `max_replicas`;
            `gateway` with `host`, where an HTTPRoute is to split the traffic; or `mode: Knative`.
    """
    from stepworks.serving.step import deploy_version

    deploy_version(
        package.path,
        verdict.path,
        registration.path,
        registry,
        run=run,
        placement=placement,
        service=service,
    ).write(deployment.path)
