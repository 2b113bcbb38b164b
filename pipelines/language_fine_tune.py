"""A language model that follows your texts: LoRA adapters by transformers' Trainer, in a function of one's own."""

from typing import Any

from kfp import dsl

from stepworks.components.operations.check_first import check_first
from stepworks.kubeflow.pipeline import pipeline
from stepworks.pipelines.trained_model import train_model


@pipeline(version="0.1.0")
def language_fine_tune(
    texts: str = "s3://example-bucket/texts.parquet",
    settings: dict[str, Any] = {"base_model": "Qwen/Qwen2.5-0.5B", "epochs": 1, "batch_size": 8},  # noqa: B006
) -> None:
    """Fine-tune a causal language model on a Parquet file with a column `text`, and resume after preemption."""
    check_first()
    imported = dsl.importer(artifact_uri=texts, artifact_class=dsl.Dataset)
    train_model(train_features=imported.output, entrypoint="stepworks.examples.trainer_lora:train", settings=settings)
