"""A model package: one ONNX graph that takes raw features, recorded samples, and a manifest over both.

::

    model.onnx      raw columns in, `probability` out
    samples.json    raw rows, and the answers that the trained model gave offline
    manifest.json   the signature, and a digest over everything
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from stepworks.errors import NotFoundError, ServingError
from stepworks.files import write_atomically

MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.onnx"
SAMPLES_FILE = "samples.json"
OUTPUT = "probability"

Row = dict[str, float | int | str | None]
"""Raw features by name; `None` is missing."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InputTensor(_Part):
    """One raw column: a tensor of shape [rows, 1].

    Attributes:
        name: The column's name.
        datatype: Its type in the Open Inference Protocol. Every number is FP32, integers too. A value may be
            missing: NaN (in JSON, null) for FP32, the empty string for BYTES.
    """

    name: str
    datatype: Literal["FP32", "BYTES"]


class OutputTensor(_Part):
    """The answer: a tensor of shape [rows, 1]."""

    name: str = OUTPUT
    datatype: Literal["FP32"] = "FP32"


class Manifest(_Part):
    """What `manifest.json` holds.

    Attributes:
        format: The version of this format.
        inputs: The raw columns, in the graph's order.
        output: The answer.
        files: The SHA-256 digest of each file of the package, by its name.
        digest: The SHA-256 digest of all the above; it identifies the package.
    """

    format: Literal[1] = 1
    inputs: tuple[InputTensor, ...]
    output: OutputTensor = OutputTensor()
    files: dict[str, str]
    digest: str


class Samples(_Part):
    """Raw rows, and for each the probability that the trained model gave offline."""

    rows: list[Row]
    probabilities: list[float]

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if len(self.rows) != len(self.probabilities) or not self.rows:
            raise ValueError("samples need rows, and one probability a row")
        return self

    @classmethod
    def read(cls, package: Path) -> Self:
        """Read the samples of a package.

        Raises:
            ServingError: The file is missing or holds something else.
        """
        try:
            return cls.model_validate_json((package / SAMPLES_FILE).read_bytes())
        except (OSError, ValidationError) as error:
            raise ServingError(
                f"The package {package} has no usable samples",
                received=str(error),
                expected=f"{SAMPLES_FILE} with rows and probabilities",
                what_to_do="Package the model again.",
            ) from error


def write_manifest(package: Path, inputs: tuple[InputTensor, ...]) -> Manifest:
    """Seal a package whose other files are complete; the manifest is written last.

    Args:
        package: The package's folder.
        inputs: The raw columns, in the graph's order.

    Returns:
        The manifest, as it was written.

    Raises:
        ResourceError: The manifest cannot be written.
    """
    files = {name: _digest_of_file(package / name) for name in (MODEL_FILE, SAMPLES_FILE)}
    unsealed = Manifest(inputs=inputs, files=files, digest="")
    manifest = unsealed.model_copy(update={"digest": _digest_of(unsealed)})
    write_atomically(package / MANIFEST_FILE, manifest.model_dump_json(indent=1).encode() + b"\n")
    return manifest


def read_package(package: Path) -> Manifest:
    """Read a package's manifest and verify every file against it.

    Raises:
        NotFoundError: The folder is not a package.
        ServingError: A file is missing or was changed, or the manifest was.
    """
    path = package / MANIFEST_FILE
    if not path.is_file():
        raise NotFoundError(
            f"{package} is not a model package",
            received="no such folder" if not package.exists() else f"no {MANIFEST_FILE} in it",
            expected=f"a folder with {MANIFEST_FILE}, {MODEL_FILE} and {SAMPLES_FILE}",
            what_to_do="Give the folder that package_model wrote, or a package of the registry.",
        )
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ServingError(
            f"{path} is not a manifest", received=str(error), what_to_do="Package the model again."
        ) from error
    changed = [name for name, digest in manifest.files.items() if _digest_of_file(package / name) != digest]
    if _digest_of(manifest) != manifest.digest:
        changed.append(MANIFEST_FILE)
    if changed:
        raise ServingError(
            f"The package {package} is not what was packaged",
            received=f"missing or changed: {', '.join(changed)}",
            expected=f"files that fit the digest {manifest.digest}",
            what_to_do="Copy the package again, or package the model again.",
        )
    return manifest


def _digest_of(manifest: Manifest) -> str:
    return hashlib.sha256(manifest.model_dump_json(exclude={"digest"}).encode()).hexdigest()


def _digest_of_file(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
