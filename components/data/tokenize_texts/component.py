"""Tokenise and pack texts for the training of a language model."""

from kfp.dsl import Dataset, Input, Output

from stepworks.kubeflow.component import component


@component("gpu")
def tokenize_texts(
    texts: Input[Dataset],
    tokenizer: str,
    tokens: Output[Dataset],
    length: int = 1024,
    text: str = "text",
    prompt: str = "",
) -> None:
    """Tokenise texts once, and pack them into rows of one length, which training then reads without decoding anything.

    It runs in the image that has transformers, and needs no accelerator.

    Args:
        texts: Parquet, a file or a folder.
        tokenizer: The folder of a tokenizer, or its name on a hub that the step reaches.
        tokens: Token shards, for the data builder `stepworks.training.language_model:read_tokens`.
        length: The tokens of a row.
        text: The column of texts.
        prompt: A column of what precedes each text, and is not trained on; none if empty.
    """
    from pathlib import Path

    from stepworks.training.language_model import write_tokens

    written = write_tokens(
        Path(texts.path), Path(tokens.path), tokenizer=tokenizer, length=length, text=text, prompt=prompt
    )
    tokens.metadata["rows"] = len(written)
