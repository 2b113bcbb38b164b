"""The best of several trainings on a table: Katib searches in a cluster, Optuna on a laptop."""

from kfp import dsl

from stepworks.components.evaluation.evaluate.component import evaluate
from stepworks.components.operations.check_first import check_first
from stepworks.components.operations.run_claims import run_claims
from stepworks.components.tuning.tune.component import tune
from stepworks.kubeflow.pipeline import claim_path, pipeline
from stepworks.kubeflow.place import place
from stepworks.kubeflow.placement_of import image_of, placement_of
from stepworks.pipelines.prepared_table import FLIGHTS, FLIGHTS_CONTRACT, prepare_table
from stepworks.pipelines.trained_model import train_model


@pipeline(version="0.1.0", targets=["a100", "amd", "mig"])
def tabular_tune(
    source: str = FLIGHTS,
    contract: str = FLIGHTS_CONTRACT,
    validation_from: str = "2013-10-01",
    test_from: str = "2013-11-01",
    trials: int = 12,
    parallel_trials: int = 3,
    epochs: int = 10,
) -> None:
    """Search for the parameters of a model of a table, train with the best, and judge it.

    Longer than a function should be, since it is the composition and nothing else: one call a step, as they run.
    """
    check_first()
    run = dsl.PIPELINE_JOB_ID_PLACEHOLDER
    _, _, parts, encoded = prepare_table(source, contract, validation_from, test_from)
    features = {
        "train_features": encoded.outputs["train_features"],
        "validation_features": encoded.outputs["validation_features"],
        "transform": encoded.outputs["transform"],
    }
    with run_claims("shared"):
        searched = place(
            tune(
                name="tune",
                run=run,
                workspace=claim_path("shared"),
                **features,
                training={
                    "model": "stepworks.training.tabular:build_model",
                    "data": "stepworks.training.tabular:read_rows",
                    "loop": {"monitor": "validation_auc", "epochs": 3},
                },
                space={
                    "learning_rate": {"type": "double", "minimum": 3e-4, "maximum": 3e-2, "scale": "log"},
                    "batch_size": {"type": "choice", "values": [1024, 2048, 4096]},
                    "dropout": {"type": "double", "minimum": 0.0, "maximum": 0.4},
                },
                objective={"metric": "validation_auc", "goal": "maximize"},
                trials=trials,
                parallel_trials=parallel_trials,
                image=image_of("gpu"),
                placement=placement_of("training", mounts=["shared"]),
            ),
            "waits",
            mounts=["shared"],
        )
        trained = train_model(**features, epochs=epochs, parameters=searched.outputs["best"])
        place(
            evaluate(
                model=trained.outputs["trained_model"],
                features=encoded.outputs["test_features"],
                test=parts.outputs["test"],
                slices=["origin", "carrier", "month"],
            ),
            "large",
        )
