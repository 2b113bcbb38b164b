"""A model of one's own, of scikit-learn, XGBoost or LightGBM, as KServe's servers and MLServer read it.

::

    model/model.joblib (or .pkl, .pickle)   scikit-learn, pipelines included
    model/model.json (or .ubj, .bst)        XGBoost
    model/model.bst                         LightGBM's text

The server's folder holds this one file: KServe's servers refuse a second one that could be a model.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from stepworks.data.tables import read_table
from stepworks.errors import ConfigurationError, NotFoundError, ServingError
from stepworks.serving.formats.assembly import assemble
from stepworks.serving.manifest import MODEL_FOLDER, Datatype, InputTensor, Manifest, OutputTensor, Samples

FEATURES = "features"
ANSWER = "output-0"
"""The name that KServe's servers give to what they answer."""

_TYPES: Mapping[str, Datatype] = {"f4": "FP32", "f8": "FP64", "i8": "INT64"}


@dataclass(frozen=True)
class Library:
    """How a library's models are read.

    Attributes:
        suffixes: What the model's file may end with.
        load: Reads it.
        names: The names of its features, if it knows them.
        predict: Answers rows of features, of shape [rows, features].
        save: Writes it for the server; None to copy the file.
        suffix: What the file in the package ends with; empty for that of the given one.
    """

    suffixes: tuple[str, ...]
    load: Callable[[Path], Any]
    names: Callable[[Any], Sequence[str] | None]
    predict: Callable[[Any, npt.NDArray[Any]], Any]
    save: Callable[[Any, Path], None] | None = None
    suffix: str = ""


def _load_booster(path: Path) -> Any:
    return importlib.import_module("xgboost").Booster(model_file=bytearray(path.read_bytes()))


def _predict_booster(booster: Any, rows: npt.NDArray[Any]) -> Any:
    matrix = importlib.import_module("xgboost").DMatrix(rows.astype(np.float32))
    return booster.predict(matrix, validate_features=False)


def _save_without_names(booster: Any, path: Path) -> None:
    """The servers give rows without names, which XGBoost refuses to a model that has names."""
    booster.feature_names = booster.feature_types = None
    path.write_bytes(booster.save_raw("json" if path.suffix == ".json" else "ubj"))


LIBRARIES: Mapping[str, Library] = {
    "sklearn": Library(
        suffixes=(".joblib", ".pkl", ".pickle"),
        load=lambda path: importlib.import_module("joblib").load(path),
        names=lambda model: getattr(model, "feature_names_in_", None),
        predict=lambda model, rows: model.predict(rows),
    ),
    "xgboost": Library(
        suffixes=(".json", ".ubj", ".bst"),
        load=_load_booster,
        names=lambda booster: booster.feature_names,
        predict=_predict_booster,
        save=_save_without_names,
    ),
    "lightgbm": Library(
        suffixes=(".txt", ".bst", ".model"),
        load=lambda path: importlib.import_module("lightgbm").Booster(model_file=str(path)),
        names=lambda booster: booster.feature_name(),
        predict=lambda booster, rows: booster.predict(rows),
        suffix=".bst",
    ),
}
"""By the package's format. The libraries are imported by name: they are those of the user's image, not of ours."""


def package_estimator(
    model: Path,
    samples: Path,
    destination: Path,
    *,
    format: str,  # noqa: A002  # its name in the manifest
    features: Sequence[str] = (),
    sample_rows: int = 100,
) -> Manifest:
    """Package a model file of scikit-learn, XGBoost or LightGBM, with recorded rows and the model's answers.

    The request has one tensor of all features, [rows, features]; the answer is what the model's `predict` gives.
    Reading a pickle runs what is in it: package only what you trained.

    Args:
        model: The model's file: pickled by joblib (scikit-learn), or as the library's own `save_model` writes it.
        samples: Rows in Parquet, with the features as numbers.
        destination: The package's folder; it appears whole, and replaces what was there.
        format: `sklearn`, `xgboost` or `lightgbm`.
        features: The columns in the model's order; those that the model knows by name where empty.
        sample_rows: How many rows to record, the first of the table.

    Returns:
        The package's manifest.

    Raises:
        NotFoundError: There is no such file.
        DataError: The samples cannot be read, are empty, or lack a column.
        ConfigurationError: There is no such format, its library is not installed, or the features are not known.
        ServingError: The file does not hold such a model, or the model does not answer the rows.
        ResourceError: The disk is full or the destination is not writable.
    """
    library = _library(format, model)
    loaded = _load(format, library, model)
    columns = _columns(model, features or library.names(loaded))
    rows = _rows(samples, columns, sample_rows)
    answers = _answers(format, library, loaded, rows)
    written = f"model{library.suffix or model.suffix}"

    def write(package: Path) -> None:
        folder = package / MODEL_FOLDER
        folder.mkdir()
        if library.save is None:
            shutil.copyfile(model, folder / written)
        else:
            library.save(loaded, folder / written)

    recorded = Samples(
        # JSON has no NaN.
        rows=[{FEATURES: [None if np.isnan(each) else each for each in row]} for row in rows.tolist()],
        answers=answers.tolist(),
    )
    return assemble(
        destination,
        format,
        (InputTensor(name=FEATURES, datatype="FP32" if format == "xgboost" else "FP64", shape=(len(columns),)),),
        OutputTensor(name=ANSWER, datatype=_TYPES.get(answers.dtype.str[1:], "BYTES"), shape=answers.shape[1:] or (1,)),
        write=write,
        record=lambda _: recorded,
    )


def _columns(model: Path, features: Sequence[str] | None) -> list[str]:
    if not features:
        raise ConfigurationError(
            f"The model {model} does not say what its features are called",
            received="no features",
            expected="the columns of the samples in the model's order",
            what_to_do="Give them as features.",
        )
    return list(features)


def _library(name: str, model: Path) -> Library:
    library = LIBRARIES.get(name)
    if library is None:
        raise ConfigurationError(
            f"A model of one's own cannot be packaged for {name}",
            received=name,
            expected=", ".join(LIBRARIES),
            what_to_do="Give one of these formats, or package a model of the built-in trainers by package_model.",
        )
    if not model.is_file() or model.suffix not in library.suffixes:
        raise NotFoundError(
            f"There is no {name} model {model}",
            received="no such file" if not model.is_file() else f"a file that ends with {model.suffix or 'nothing'}",
            expected=f"a file that ends with {', '.join(library.suffixes)}",
            what_to_do="Give the file of the model, by the name that its library expects.",
        )
    return library


def _load(name: str, library: Library, model: Path) -> Any:
    try:
        return library.load(model)
    except ImportError as error:
        raise ConfigurationError(
            f"The {name} model {model} cannot be read here",
            received=str(error),
            expected="the library that it was trained with, in the version that the server has",
            what_to_do="Install it in the image of this step.",
        ) from error
    except Exception as error:  # each library has errors of its own
        raise ServingError(
            f"{model} holds no {name} model",
            received=f"{type(error).__name__}: {' '.join(str(error).split()[:40])}",
            expected="what joblib.dump writes" if name == "sklearn" else "what the library's save_model writes",
            what_to_do="Save the model again.",
        ) from error


def _rows(samples: Path, columns: list[str], count: int) -> npt.NDArray[np.float64]:
    table = read_table(samples, columns).head(count)
    texts = [name for name, dtype in table.schema.items() if not (dtype.is_numeric() or dtype == pl.Boolean)]
    if texts or table.is_empty():
        raise ServingError(
            f"No rows can be recorded from {samples}",
            received=f"columns that are no numbers: {', '.join(texts)}" if texts else "no rows",
            expected="at least one row of numbers: the servers of these formats take one tensor of numbers",
            what_to_do="Encode the columns when the data is prepared, or give the test part of a table that has rows.",
        )
    return table.select(pl.all().cast(pl.Float64).fill_null(float("nan"))).to_numpy()


def _answers(name: str, library: Library, loaded: Any, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    try:
        answers = np.asarray(library.predict(loaded, rows))
    except Exception as error:  # each library has errors of its own
        raise ServingError(
            f"The {name} model does not answer the samples",
            received=f"{type(error).__name__}: {' '.join(str(error).split()[:40])}",
            expected=f"answers to rows of {rows.shape[1]} features",
            what_to_do="Correct features, or give samples as the model was trained with.",
        ) from error
    return answers
