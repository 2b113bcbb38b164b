"""Tell where an artifact is stored."""

from kfp.dsl import Artifact, Input

from stepworks.kubeflow.component import component


@component("cpu")
def locate_artifact(artifact: Input[Artifact]) -> str:
    """Tell where an artifact is stored, for what takes an address in place of an artifact.

    Args:
        artifact: The artifact.

    Returns:
        Its URI.
    """
    return str(artifact.uri)
