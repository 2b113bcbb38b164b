"""Will this flight arrive late? From files to a served model that replaced its predecessor by evidence."""

from kfp import dsl

from stepworks.components.data.profile_table.component import profile_table
from stepworks.components.evaluation.compare.component import compare
from stepworks.components.evaluation.evaluate.component import evaluate
from stepworks.components.evaluation.gate.component import gate
from stepworks.components.operations.check_first import check_first
from stepworks.components.registry.register_model.component import register_model
from stepworks.components.serving.check_serving.component import check_serving
from stepworks.components.serving.deploy.component import deploy
from stepworks.components.serving.package_model.component import package_model
from stepworks.components.serving.roll_out_canary.component import roll_out_canary
from stepworks.kubeflow.pipeline import claim_path, on_vertex, pipeline
from stepworks.kubeflow.place import place
from stepworks.kubeflow.placement_of import placement_of
from stepworks.kubeflow.vertex.deploy import deploy_on_vertex
from stepworks.pipelines.prepared_table import FLIGHTS, FLIGHTS_CONTRACT, prepare_table
from stepworks.pipelines.trained_model import train_model


@pipeline(version="0.1.0")
def tabular_train_and_deploy(
    source: str = FLIGHTS,
    contract: str = FLIGHTS_CONTRACT,
    validation_from: str = "2013-10-01",
    test_from: str = "2013-11-01",
    epochs: int = 6,
    learning_rate: float = 2e-3,
    champion_margin: float = 0.005,
    model_name: str = "late-flights",
    override: str = "",
) -> None:
    """Train a model on a table, judge it, and roll it out behind a gate.

    Longer than a function should be, since it is the composition and nothing else: one call a step, as they run.
    """
    check_first()
    registry = claim_path("registry")
    ingested, validated, parts, encoded = prepare_table(source, contract, validation_from, test_from)
    place(profile_table(table=ingested.outputs["table"], contract=contract), "small").after(validated)
    trained = train_model(
        train_features=encoded.outputs["train_features"],
        validation_features=encoded.outputs["validation_features"],
        transform=encoded.outputs["transform"],
        epochs=epochs,
        learning_rate=learning_rate,
        mounts=["datasets"],
    )
    model = trained.outputs["trained_model"]
    evaluated = place(
        evaluate(
            model=model,
            features=encoded.outputs["test_features"],
            test=parts.outputs["test"],
            slices=["origin", "carrier", "month"],
        ),
        "large",
    )
    compared = place(
        compare(
            predictions=evaluated.outputs["predictions"],
            train=parts.outputs["train"],
            test=parts.outputs["test"],
            target="late",
            baseline_keys=["departure_minute // 60", "carrier", "origin"],
            model_name=model_name,
            registry=registry,
        ),
        "effects",  # the champion may have changed meanwhile
        mounts=["registry"],
    )
    judged = place(
        gate(
            evaluation=evaluated.outputs["evaluation"],
            comparison=compared.outputs["comparison"],
            champion_margin=champion_margin,
            override=override,
        ),
        "small",
    )
    packaged = place(package_model(model=model, test=parts.outputs["test"]), "large").after(judged)
    package = packaged.outputs["package"]
    checked = place(check_serving(package=package), "small")
    registered = place(
        register_model(
            package=package,
            verdict=judged.outputs["verdict"],
            name=model_name,
            registry=registry,
            run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        ),
        "effects",
        mounts=["registry"],
    ).after(checked)
    if on_vertex():  # an endpoint of Vertex AI in place of a server in the cluster
        deploy_on_vertex(package, model_name, after=registered)
        return
    deployed = place(
        deploy(
            package=package,
            verdict=judged.outputs["verdict"],
            registration=registered.outputs["registration"],
            registry=registry,
            run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
            placement=placement_of("serving", mounts=["registry"]),
        ),
        "effects",
        mounts=["registry"],
    )
    place(
        roll_out_canary(
            deployment=deployed.outputs["deployment"],
            package=package,
            registration=registered.outputs["registration"],
            registry=registry,
        ),
        "waits",  # traffic takes the time that it takes
        mounts=["registry"],
    )
