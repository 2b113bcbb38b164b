"""Making a package from a trained model."""

from __future__ import annotations

import warnings
from pathlib import Path

from stepworks.serving.formats.assembly import assemble
from stepworks.serving.formats.kserve import served
from stepworks.serving.formats.sources import read_kind, read_source
from stepworks.serving.formats.table import writer
from stepworks.serving.manifest import ONNXRUNTIME, Manifest

SAMPLE_ROWS = 100


def build_package(
    model_directory: Path,
    samples: Path,
    destination: Path,
    sample_rows: int = SAMPLE_ROWS,
    format: str = ONNXRUNTIME,  # noqa: A002  # its name in the manifest
) -> Manifest:
    """Package a trained model together with recorded samples.

    The recorded answers come from the trained model and the transform step's own code, not from what is packaged,
    so that a server which agrees with them agrees with training.

    Args:
        model_directory: A model's folder, as the train step writes it.
        samples: What to record from, best the test part: a raw table, as split_table writes it; or images, as the
            model was trained with.
        destination: The package's folder; it appears whole, and replaces what was there.
        sample_rows: How many rows to record; of images 10 at most.
        format: What kind of server is to read it: `onnxruntime` (ours), `triton`, `triton-torchscript`,
            `triton-python` or `torchserve`; see `stepworks.serving.formats.table`.

    Returns:
        The package's manifest.

    Raises:
        NotFoundError: There is no model, or no table of samples.
        DataError: The samples cannot be read, are empty, or lack a column.
        ConfigurationError: There is no such format.
        ServingError: The model has a data builder of its own, has no way into the format, or cannot be exported.
        ResourceError: The disk is full or the destination is not writable.
    """
    write = writer(format, read_kind(model_directory))
    source = read_source(model_directory)
    if format == "torchserve":
        warnings.warn(served(format).warning, stacklevel=2)
    return assemble(
        destination,
        format,
        source.inputs,
        source.output,
        write=lambda package: write(source, package),
        record=lambda scratch: source.record(samples, scratch, sample_rows),
    )
