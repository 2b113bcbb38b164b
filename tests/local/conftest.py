"""A tenth of the real flights, in a folder as a user's own data would be, and runs of the flagship on it."""

import shutil
import zipfile
from pathlib import Path

import polars as pl
import pytest

from tests.flights import flights_csv, flights_folder
from tests.local.flagship import Ended, run_flagship

SHARE = 10


@pytest.fixture(scope="session")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every tenth flight, with all weather, planes and airports."""
    folder = tmp_path_factory.mktemp("flights")
    for name in ("weather.csv", "planes.csv", "airports.csv"):
        shutil.copy(flights_folder() / name, folder / name)
    flights = pl.read_csv(flights_csv(), infer_schema=False)
    flights.gather_every(SHARE).write_csv(folder / "flights.csv")
    with zipfile.ZipFile(folder / "flights.csv.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "flights.csv", "flights.csv")
    return folder


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def quick(flights: Path) -> list[str]:
    """Parameters for a quick run on the sample."""
    return ["-p", f"source={flights}", "-p", "epochs=3"]


@pytest.fixture(scope="session")
def first(home: Path, quick: list[str]) -> Ended:
    """The first run: no champion yet; a bad canary is rehearsed."""
    return run_flagship(home, *quick, "--rehearse-roll-back")


@pytest.fixture(scope="session")
def second(home: Path, quick: list[str], first: Ended) -> Ended:
    """The second run in the same home: against the first one's model, and its server is left up."""
    assert first.exit_code == 0, first.errors
    return run_flagship(home, *quick, "--keep-serving")
