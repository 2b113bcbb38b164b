"""Making a package's folder, which appears whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from stepworks.errors import ResourceError
from stepworks.files import write_atomically
from stepworks.serving.manifest import SAMPLES_FILE, InputTensor, Manifest, OutputTensor, Samples, write_manifest


def assemble(
    destination: Path,
    format: str,  # noqa: A002  # its name in the manifest
    inputs: tuple[InputTensor, ...],
    output: OutputTensor,
    *,
    write: Callable[[Path], None],
    record: Callable[[Path], Samples],
) -> Manifest:
    """Write a package beside its place, seal it, and move it there.

    Args:
        destination: The package's folder; what was there is replaced.
        format: The package's format.
        inputs: The inputs, in the model's order.
        output: The answer.
        write: Writes what the server reads into the package's folder.
        record: Gives the samples; it gets a folder for what it writes meanwhile.

    Returns:
        The package's manifest.

    Raises:
        ResourceError: The disk is full or the destination is not writable.
    """
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=destination.parent, prefix=f".{destination.name}-") as folder:
            package = Path(folder) / "package"
            package.mkdir()
            write(package)
            samples = record(Path(folder))
            write_atomically(package / SAMPLES_FILE, samples.model_dump_json(indent=1).encode() + b"\n")
            manifest = write_manifest(package, inputs, output, format)
            shutil.rmtree(destination, ignore_errors=True)
            package.rename(destination)
    except OSError as error:
        raise ResourceError(
            f"Cannot write the package {destination}",
            received=f"{type(error).__name__}: {error}",
            expected="a writable folder with free space",
            what_to_do="Free space, or correct the permission, and run again.",
        ) from error
    return manifest
