"""A script of one's own, which knows nothing of Stepworks, on several GPU nodes."""

from kfp import dsl

from stepworks.components.operations.check_first import check_first
from stepworks.components.operations.run_claims import run_claims
from stepworks.components.training.train_distributed.component import train_distributed
from stepworks.kubeflow.pipeline import claim_path, pipeline
from stepworks.kubeflow.place import place
from stepworks.kubeflow.placement_of import image_of, placement_of
from stepworks.pipelines.prepared_table import FLIGHTS, FLIGHTS_CONTRACT, prepare_table


@pipeline(version="0.1.0", targets=["a100", "amd"])
def distributed_script(
    source: str = FLIGHTS,
    contract: str = FLIGHTS_CONTRACT,
    validation_from: str = "2013-10-01",
    test_from: str = "2013-11-01",
    nodes: int = 2,
) -> None:
    """Train by a command in the pods of a TrainJob, and resume after preemption."""
    check_first()
    prepared = prepare_table(source, contract, validation_from, test_from)
    with run_claims("shared"):
        place(
            train_distributed(
                name="train",
                run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                workspace=claim_path("shared"),
                image=image_of("gpu"),
                placement=placement_of("training", mounts=["shared"]),
                nodes=nodes,
                train_features=prepared.encoded.outputs["train_features"],
                command=["python3", "-m", "stepworks.examples.plain_ddp", "--target", "late", "--steps", "2000"],
            ),
            "waits",
            mounts=["shared"],
        )
