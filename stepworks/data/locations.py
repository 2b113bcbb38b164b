"""Where files are: a path, a path below a claim's mount, or inside of an installed package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from stepworks.errors import NotFoundError

PACKAGE_PREFIX = "package://"


def locate(reference: str) -> Path:
    """Find what a reference names.

    Args:
        reference: A path, which may lie below the mount path of a claim, or `package://<name>/<path>` for a file
            or folder of an installed package. `package://<name>` alone is its `data` folder if it has one. The
            package is not imported.

    Raises:
        NotFoundError: There is no such path or package.
    """
    if reference.startswith(PACKAGE_PREFIX):
        name, _, inside = reference.removeprefix(PACKAGE_PREFIX).partition("/")
        folder = _package_folder(name)
        data = folder / "data"
        path = folder / inside if inside else data if data.is_dir() else folder
    else:
        from stepworks.supervisor.client import local_path

        path = local_path(reference)
    if not path.exists():
        raise NotFoundError(
            f"There is no file or folder {path}",
            received=reference,
            expected=f"an existing path, or {PACKAGE_PREFIX}<name>/<path> for a part of an installed package",
            what_to_do="Correct the parameter, or mount the claim that holds it.",
        )
    return path


def _package_folder(name: str) -> Path:
    # Only a top-level package is found without running its code.
    specification = importlib.util.find_spec(name) if name.isidentifier() else None
    locations = specification.submodule_search_locations if specification else None
    if not locations:
        raise NotFoundError(
            f"There is no installed package {name!r}",
            received=f"{PACKAGE_PREFIX}{name}",
            expected=f"{PACKAGE_PREFIX}<name of an installed package>",
            what_to_do="Install the package, or give the folder that holds the files.",
        )
    return Path(locations[0])
