"""Check a packaged model on the real server."""

from kfp.dsl import Artifact, Input, Model, Output

from stepworks.kubeflow.component import component


@component("serving")
def check_serving(package: Input[Model], check: Output[Artifact], tolerance: float = 1e-5) -> None:
    """Start the model server, send recorded rows, and compare with the offline answers.

    Args:
        package: The package's folder, as package_model writes it.
        check: What was found.
        tolerance: The largest allowed difference of probabilities.
    """
    from stepworks.serving import check as serving

    serving.check_serving(package.path, tolerance).write(check.path)
