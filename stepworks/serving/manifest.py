"""A model package: what a model server reads, recorded samples, and a manifest over both.

::

    model/          what the server reads, in a layout that its format gives; see `stepworks.serving.formats`
    samples.json    inputs, and the answers that the trained model gave offline
    manifest.json   the format, the signature, and a digest over everything

The format `onnxruntime`, which our own server reads, has `model.onnx` in place of the folder.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from stepworks.errors import NotFoundError, ServingError
from stepworks.files import write_atomically

MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.onnx"
MODEL_FOLDER = "model"
SAMPLES_FILE = "samples.json"
OUTPUT = "probability"
ONNXRUNTIME = "onnxruntime"
"""The format that our own server reads."""

Datatype = Literal["FP32", "FP64", "INT64", "UINT8", "BYTES"]
"""A tensor's type in the Open Inference Protocol."""

Row = dict[str, float | int | str | None]
"""Raw features by name; `None` is missing."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InputTensor(_Part):
    """An input: a tensor of shape [rows, *shape].

    Attributes:
        name: Its name; of a table's model, the column's.
        datatype: Its type. Every number of a raw column is FP32, integers too. A value of a raw column may be
            missing: NaN (in JSON, null) for FP32, the empty string for BYTES.
        shape: Of one row; -1 where it differs from row to row.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...] = (1,)


class OutputTensor(_Part):
    """The answer: a tensor of shape [rows, *shape]."""

    name: str = OUTPUT
    datatype: Datatype = "FP32"
    shape: tuple[int, ...] = (1,)


class Manifest(_Part):
    """What `manifest.json` holds.

    Attributes:
        format: What kind of server reads the package, by its name in `stepworks.serving.formats`.
        inputs: The inputs, in the model's order.
        output: The answer.
        files: The SHA-256 digest of each file of the package, by its path in the package.
        digest: The SHA-256 digest of all the above; it identifies the package.
    """

    format: str = ONNXRUNTIME
    inputs: tuple[InputTensor, ...]
    output: OutputTensor = OutputTensor()
    files: dict[str, str]
    digest: str

    @field_validator("format", mode="before")
    @classmethod
    def _number_of_before(cls, given: Any) -> Any:
        """Packages of before there were formats have the number of their layout here."""
        return ONNXRUNTIME if given == 1 else given


class Samples(_Part):
    """Inputs, and for each the answer that the trained model gave offline.

    Attributes:
        rows: The values by the input's name: one value for the shape [1], else nested lists of the shape.
        answers: Likewise: one value for the shape [1], else nested lists.
        texts: Of a language model, whose answers are tokens, the same as texts; None of others.
    """

    rows: list[dict[str, Any]]
    answers: list[Any]
    texts: list[str] | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_of_before(cls, given: Any) -> Any:
        """Samples of before there were formats have probabilities, and no other answers."""
        if isinstance(given, dict) and "probabilities" in given:
            return {"answers" if name == "probabilities" else name: value for name, value in given.items()}
        return given

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if len(self.rows) != len(self.answers) or not self.rows:
            raise ValueError("samples need rows, and one answer a row")
        if self.texts is not None and len(self.texts) != len(self.rows):
            raise ValueError("samples of a language model need one text a row")
        return self

    @property
    def probabilities(self) -> list[float]:
        """The answers of a model that gives one number a row.

        Raises:
            ServingError: It gives something else.
        """
        other = next((each for each in self.answers if not isinstance(each, float | int)), None)
        if other is not None:
            raise ServingError(
                "The model's answers are no probabilities",
                received=f"{str(other)[:100]} for a row",
                expected="one number a row",
                what_to_do="Compare its answers by what they are; see `answers` of the samples.",
            )
        return [float(each) for each in self.answers]

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
                expected=f"{SAMPLES_FILE} with rows and answers",
                what_to_do="Package the model again.",
            ) from error


def write_manifest(
    package: Path,
    inputs: tuple[InputTensor, ...],
    output: OutputTensor = OutputTensor(),  # noqa: B008  # it is frozen
    format: str = ONNXRUNTIME,  # noqa: A002  # its name in the manifest
) -> Manifest:
    """Seal a package whose other files are complete; the manifest is written last.

    Args:
        package: The package's folder.
        inputs: The inputs, in the model's order.
        output: The answer.
        format: The package's format.

    Returns:
        The manifest, as it was written.

    Raises:
        ResourceError: The manifest cannot be written.
    """
    names = sorted(path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file())
    files = {name: str(_digest_of_file(package / name)) for name in names if name != MANIFEST_FILE}
    unsealed = Manifest(format=format, inputs=inputs, output=output, files=files, digest="")
    manifest = unsealed.model_copy(update={"digest": _digest_of(unsealed.model_dump_json())})
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
            expected=f"a folder with {MANIFEST_FILE}, {SAMPLES_FILE} and a model",
            what_to_do="Give the folder that package_model wrote, or a package of the registry.",
        )
    try:
        content = path.read_text()
        manifest = Manifest.model_validate_json(content)
    except (OSError, ValueError) as error:
        raise ServingError(
            f"{path} is not a manifest", received=str(error), what_to_do="Package the model again."
        ) from error
    changed = [name for name, digest in manifest.files.items() if _digest_of_file(package / name) != digest]
    if _digest_of(content) != manifest.digest:
        changed.append(MANIFEST_FILE)
    if changed:
        raise ServingError(
            f"The package {package} is not what was packaged",
            received=f"missing or changed: {', '.join(changed)}",
            expected=f"files that fit the digest {manifest.digest}",
            what_to_do="Copy the package again, or package the model again.",
        )
    return manifest


def require_format(package: Path, manifest: Manifest, wanted: str, purpose: str) -> None:
    """Refuse a package of another format than the one that is read.

    Args:
        package: The package's folder.
        manifest: Its manifest.
        wanted: The format that is read.
        purpose: What was to be done, as `serve it here`.

    Raises:
        ServingError: It has another format.
    """
    if manifest.format != wanted:
        raise ServingError(
            f"The package {package} is not one to {purpose}",
            received=f"a package of the format {manifest.format}",
            expected=wanted,
            what_to_do=f"Package the model with format={wanted}, or give this package to the server of its format.",
        )


def _digest_of(manifest: str) -> str:
    """Of the file's content and not of what is read from it, so that a later version of the library gives the same."""
    content = {name: value for name, value in json.loads(manifest).items() if name != "digest"}
    return hashlib.sha256(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def _digest_of_file(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
