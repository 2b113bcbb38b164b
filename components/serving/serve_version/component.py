"""Give all traffic of a model to one registered version."""

from typing import Any

from kfp.dsl import Artifact, Output

from stepworks.kubeflow.component import component


@component("serving")
def serve_version(
    name: str,
    version: int,
    registry: str,
    deployment: Output[Artifact],
    run: str = "",
    image: str = "",
    placement: dict[str, Any] = {},  # noqa: B006  # KFP reads the default; the body does not change it
    service: dict[str, Any] = {},  # noqa: B006
) -> None:
    """Serve one registered version and no other, without a roll-out: to go back, or to promote one that was held.

    It becomes the champion. The version that serves goes on until this one answers its recorded rows rightly.

    Args:
        name: The model's name in the registry.
        version: Which version is to serve.
        registry: The registry's folder; below a mounted claim in a cluster.
        deployment: Where the service is.
        run: The id of the run. This and what follows is for a cluster only.
        image: The server's image, where plain Deployments serve the model: `image_of("serving")`; empty for KServe.
        placement: Where the model server runs: `placement_of("serving", mounts=["registry"])`.
        service: Fields of `stepworks.kube.builders.inference_service.InferenceServiceSpec`: `runtime`, `max_replicas`;
            `gateway` with `host`, where an HTTPRoute is to split the traffic; or `mode: Knative`. With an
            image, fields of `stepworks.kube.builders.model_server.ModelServerSpec`, or `gateway` with `host`.
    """
    from stepworks.serving.step import serve_registered

    served = serve_registered(name, version, registry, run=run, image=image, placement=placement, service=service)
    served.write(deployment.path)
