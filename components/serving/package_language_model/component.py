"""Package a causal language model for serving."""

from typing import Optional

from kfp.dsl import Dataset, Input, Model, Output

from stepworks.kubeflow.component import component


@component("gpu")
def package_language_model(
    model: Input[Model],
    prompts: Input[Dataset],
    package: Output[Model],
    base_model: Optional[Input[Model]] = None,  # noqa: UP045  # KFP does not read `Input[Model] | None`
    merge_adapters: bool = True,
    column: str = "text",
) -> None:
    """Package a causal language model for KServe's Hugging Face server, vLLM or TGI, with recorded prompts.

    Args:
        model: The model's folder, as train or transformers writes it.
        prompts: Parquet with a column of prompts; samples are recorded from them.
        package: The package's folder.
        base_model: What training was given as the input base_model.
        merge_adapters: Whether LoRA adapters are merged into the weights, or kept beside the base model.
        column: The column of prompts.
    """
    from pathlib import Path

    from stepworks.serving.formats import huggingface

    base = None if base_model is None else Path(base_model.path)
    manifest = huggingface.package_language_model(
        Path(model.path),
        Path(prompts.path),
        Path(package.path),
        base_model=base,
        merge_adapters=merge_adapters,
        column=column,
    )
    package.metadata["digest"] = manifest.digest
