"""A model store of TorchServe, as KServe's runtime reads it.

::

model/config/config.properties    addresses, and which archive is loaded
model/model-store/model.mar       TorchScript, our handler, the signature with the transform
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from stepworks.data.transform_parameters import TransformParameters
from stepworks.errors import ServingError
from stepworks.files import write_atomically
from stepworks.serving.formats.sources import Source
from stepworks.serving.formats.torch_programs import example_of, torchscript
from stepworks.serving.manifest import MODEL_FOLDER

MODEL_NAME = "model"
_ARCHIVE = f"{MODEL_NAME}.mar"
_HANDLER = Path(__file__).with_name("torchserve_handler.py")


def write(source: Source, package: Path) -> None:
    """Write the archive and the configuration of a model of a table or of images.

    Raises:
        ServingError: The network cannot be traced, or the archiver is missing or refuses.
    """
    transform = TransformParameters.read(source.directory) if source.kind == "table" else None
    signature = {
        "inputs": [each.model_dump(mode="json") for each in source.inputs],
        "output": source.output.model_dump(mode="json"),
        "transform": None if transform is None else transform.model_dump(mode="json"),
    }
    folder = package / MODEL_FOLDER
    store = folder / "model-store"
    store.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        program = write_atomically(Path(scratch) / "model.pt", _program(source, transform))
        described = write_atomically(Path(scratch) / "signature.json", json.dumps(signature).encode())
        _archive(program, described, store)
    write_atomically(folder / "config" / "config.properties", config_properties().encode())


def _program(source: Source, transform: TransformParameters | None) -> bytes:
    if transform is None:
        return torchscript(source.network(), example_of(source.inputs), [each.name for each in source.inputs])
    example = (
        torch.zeros(2, len(transform.numeric)),
        torch.zeros(2, len(transform.categorical), dtype=torch.int64),
    )
    return torchscript(source.network(), example, ["numeric", "categorical"])


def _archive(program: Path, signature: Path, store: Path) -> None:
    """Call the archiver as a command, which is how its authors mean it to be called."""
    options = {
        "--model-name": MODEL_NAME,
        "--version": "1.0",
        "--serialized-file": program,
        "--handler": _HANDLER,
        "--extra-files": signature,
        "--export-path": store,
    }
    arguments = [str(part) for pair in options.items() for part in pair]
    ended = subprocess.run(
        [sys.executable, "-m", "model_archiver.model_packaging", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode or not (store / _ARCHIVE).is_file():
        raise ServingError(
            "The archive for TorchServe cannot be made",
            received=(ended.stderr or ended.stdout).strip()[-500:],
            expected="torch-model-archiver in this environment, of the extra torchserve",
            what_to_do="Install stepworks[torchserve], or run the step in the gpu image.",
        )


def config_properties() -> str:
    """The configuration, with the addresses that KServe's runtime expects.

    Variables of the environment do not count, so that TorchServe leaves the bodies of requests to our handler whatever
    envelope KServe names.
    """
    model = {
        "defaultVersion": True,
        "marName": _ARCHIVE,
        "minWorkers": 1,
        "maxWorkers": 1,
        "batchSize": 8,
        "maxBatchDelay": 5,
        "responseTimeout": 120,
    }
    snapshot = {"name": "startup.cfg", "modelCount": 1, "models": {MODEL_NAME: {"1.0": model}}}
    settings = {
        "inference_address": "http://0.0.0.0:8085",
        "management_address": "http://0.0.0.0:8085",
        "metrics_address": "http://0.0.0.0:8082",
        "grpc_inference_port": "7070",
        "grpc_management_port": "7071",
        "enable_envvars_config": "false",
        "enable_metrics_api": "true",
        "metrics_mode": "prometheus",
        "install_py_dep_per_model": "false",
        "disable_token_authorization": "true",
        "model_store": "/mnt/models/model-store",
        "model_snapshot": json.dumps(snapshot, separators=(",", ":")),
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())
