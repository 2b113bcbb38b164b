"""Package a model of scikit-learn, XGBoost or LightGBM for serving."""

from kfp.dsl import Dataset, Input, Model, Output

from stepworks.kubeflow.component import component


@component("cpu")
def package_estimator(
    model: Input[Model],
    samples: Input[Dataset],
    package: Output[Model],
    format: str,  # noqa: A002  # its name in the package
    file: str = "",
    features: list[str] = [],  # noqa: B006  # KFP reads the default
) -> None:
    """Package a model file of scikit-learn, XGBoost or LightGBM, with recorded rows and their answers.

    Args:
        model: The model's file, or a folder that holds it.
        samples: Rows in Parquet, with the features as numbers; samples are recorded from them.
        package: The package's folder.
        format: sklearn, xgboost or lightgbm.
        file: The name of the file in the folder; empty if model is the file.
        features: The columns in the model's order; empty for those that the model knows by name.
    """
    from pathlib import Path

    from stepworks.serving.formats import estimators

    manifest = estimators.package_estimator(
        Path(model.path) / file, Path(samples.path), Path(package.path), format=format, features=features
    )
    package.metadata["digest"] = manifest.digest
