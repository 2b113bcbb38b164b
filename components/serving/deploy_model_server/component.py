"""Serve a registered model by a Deployment, in the place of the version that serves."""

from typing import Any

from kfp.dsl import Artifact, Input, Model, Output

from stepworks.kubeflow.component import component


@component("serving")
def deploy_model_server(
    package: Input[Model],
    verdict: Input[Artifact],
    registration: Input[Artifact],
    registry: str,
    deployment: Output[Artifact],
    run: str = "",
    image: str = "",
    placement: dict[str, Any] = {},  # noqa: B006  # KFP reads the default; the body does not change it
    service: dict[str, Any] = {},  # noqa: B006
) -> None:
    """Serve a registered version by a Deployment and a Service, without KServe; on a laptop, by a process.

    It replaces the version that serves, which goes on until the new one is ready and is restored when the new one does
    not serve rightly. Then the new one is the champion. Behind a Gateway it is put beside that one instead, with no
    traffic yet.

    Args:
        package: The package's folder; what is served is the registry's copy of it.
        verdict: What the gate said; anything but a pass is refused.
        registration: The version to serve.
        registry: The registry's folder; below a mounted claim in a cluster.
        deployment: Where the model is.
        run: The id of the run. This and what follows is for a cluster only.
        image: The server's image: `image_of("serving")`.
        placement: Where the model server runs: `placement_of("serving", mounts=["registry"])`.
        service: Fields of `stepworks.kube.builders.model_server.ModelServerSpec`: `replicas`, `service_type`;
            and `gateway` with `host`, where an HTTPRoute is to split the traffic.
    """
    from stepworks.serving.step import deploy_server

    deploy_server(
        package.path,
        verdict.path,
        registration.path,
        registry,
        run=run,
        image=image,
        placement=placement,
        service=service,
    ).write(deployment.path)
