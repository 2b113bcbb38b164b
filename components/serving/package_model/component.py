"""Package a trained model for serving."""

from kfp.dsl import Dataset, Input, Model, Output

from stepworks.kubeflow.component import component


@component("gpu")
def package_model(
    model: Input[Model],
    test: Input[Dataset],
    package: Output[Model],
    format: str = "onnxruntime",  # noqa: A002  # its name in the package
) -> None:
    """Package a trained model for a model server, with recorded samples.

    Args:
        model: The model's folder, as train writes it.
        test: The raw test rows, as split_table writes them, or test images; samples are recorded from them.
        package: The package's folder.
        format: onnxruntime, triton, triton-torchscript, triton-python or torchserve.
    """
    from pathlib import Path

    from stepworks.serving.package import build_package

    manifest = build_package(Path(model.path), Path(test.path), Path(package.path), format=format)
    package.metadata["digest"] = manifest.digest
