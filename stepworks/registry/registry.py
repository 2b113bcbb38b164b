"""A model registry in a folder: numbered versions that never change, and names for some of them.

::

    <folder>/<name>/<version>/package/        the model's package, copied
    <folder>/<name>/<version>/metadata.json   where it came from
    <folder>/<name>/aliases.json              {"champion": 3, "previous": 2}

The folder may be shared: writers on one machine, or on several that share a volume with atomic renames, each
get a version of their own.
"""

from __future__ import annotations

import errno
import fcntl
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from stepworks.errors import NotFoundError, ParameterError, RegistryError, ResourceError
from stepworks.files import write_atomically
from stepworks.supervisor.client import local_path

CHAMPION = "champion"
"""The alias of the version that serves."""
PREVIOUS = "previous"
"""The alias of the version that served before it."""
HELD = "held"
"""The alias of the last version that a roll-out on a cluster has held."""

PACKAGE = "package"
METADATA_FILE = "metadata.json"
ALIASES_FILE = "aliases.json"

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}


class Metadata(BaseModel):
    """Where a version came from.

    Attributes:
        run: The id of the run that made it.
        created_by: What registered it, for example a pipeline's name.
        override: Why it was registered although the gate did not let it pass; empty where it did.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    created_by: str
    override: str = ""


class _Record(BaseModel):
    """What `metadata.json` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    digest: str
    created: str
    metadata: Metadata

    @classmethod
    def read(cls, path: Path) -> Self:
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise RegistryError(
                f"The registry's file {path} cannot be read",
                received=str(error),
                expected="what the registry wrote",
                what_to_do=f"Restore the file; or give its aliases to another version, then remove {path.parent}.",
            ) from error


@dataclass(frozen=True)
class RegisteredModel:
    """A registered version.

    Attributes:
        name: The model's name.
        version: Counts from 1.
        directory: The registry's own copy of the package.
        digest: The package's digest.
        metadata: Where the version came from.
        already_registered: Whether `register` found it instead of making it.
    """

    name: str
    version: int
    directory: Path
    digest: str
    metadata: Metadata
    already_registered: bool = False


class Registry:
    """A registry in `folder`, which is made by the first registration.

    Args:
        folder: A path, which may lie below the mount path of a claim.

    Raises:
        ResourceError: The supervisor of this run does not answer.
        ParameterError: From every method: a name is not a lowercase DNS label that starts with a letter.
        RegistryError: From every method: a file of the registry cannot be read.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = local_path(folder)

    def register(self, name: str, package: Path, digest: str, metadata: Metadata) -> RegisteredModel:
        """Copy a package into the registry as the next version.

        Registering the digest of a run again gives the version that the first attempt made.

        Args:
            name: The model's name.
            package: The package's folder.
            digest: The package's digest; the caller has verified it.
            metadata: Where the package came from.

        Returns:
            The new version, or the one that this run registered before.

        Raises:
            NotFoundError: There is no such package.
            ResourceError: The disk is full or the registry is not writable.
        """
        folder = self._model_folder(name)
        if not package.is_dir():
            raise NotFoundError(
                f"There is no package at {package}",
                expected="the folder that package_model wrote",
                what_to_do="Package the model first.",
            )
        for model in reversed(self.versions(name)):
            if model.digest == digest and model.metadata.run == metadata.run:
                return RegisteredModel(name, model.version, model.directory, digest, model.metadata, True)
        record = _Record(digest=digest, created=datetime.now(UTC).isoformat(timespec="seconds"), metadata=metadata)
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".incoming-") as incoming:
                finished = Path(incoming) / "version"
                shutil.copytree(package, finished / PACKAGE)
                write_atomically(finished / METADATA_FILE, record.model_dump_json(indent=1).encode() + b"\n")
                version = _claim(folder, finished, after=max(self._aliases(name).values(), default=0))
        return self.get(name, version)

    def get(self, name: str, version: int) -> RegisteredModel:
        """One version.

        Raises:
            NotFoundError: There is no such version.
        """
        directory = self._model_folder(name) / str(version)
        if not directory.is_dir():
            known = ", ".join(map(str, _version_numbers(directory.parent))) or "none"
            raise NotFoundError(
                f"The registry has no version {version} of {name}",
                received=str(version),
                expected=f"one of: {known} (in {directory.parent})",
                what_to_do="Name a registered version, or register the model first.",
            )
        record = _Record.read(directory / METADATA_FILE)
        return RegisteredModel(name, version, directory / PACKAGE, record.digest, record.metadata)

    def versions(self, name: str) -> list[RegisteredModel]:
        """All versions, oldest first; empty for a model that was never registered."""
        return [self.get(name, version) for version in _version_numbers(self._model_folder(name))]

    def champion(self, name: str) -> RegisteredModel | None:
        """The version with the alias `champion`; missing when no version has it.

        Raises:
            NotFoundError: The alias names a version that is gone.
        """
        return self.aliased(name, CHAMPION)

    def previous(self, name: str) -> RegisteredModel | None:
        """The version that was the champion before this one; missing when there was none.

        Raises:
            NotFoundError: The alias names a version that is gone.
        """
        return self.aliased(name, PREVIOUS)

    def make_champion(self, name: str, version: int) -> None:
        """Make a version the champion, and the one that was it the previous one, in one write.

        Nothing changes where it is the champion already, so that a retry forgets nobody.

        Raises:
            NotFoundError: There is no such version.
            ResourceError: The disk is full or the registry is not writable.
        """

        def change(aliases: dict[str, int]) -> dict[str, int]:
            before = aliases.get(CHAMPION)
            if before in (None, version):
                return aliases | {CHAMPION: version}
            return aliases | {CHAMPION: version, PREVIOUS: before}

        self.get(name, version)
        self._change_aliases(name, change)

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Give a version a name, and take it from the version that had it.

        Raises:
            NotFoundError: There is no such version.
            ResourceError: The disk is full or the registry is not writable.
        """
        _check_name(alias, "An alias")
        self.get(name, version)
        self._change_aliases(name, lambda aliases: aliases | {alias: version})

    def aliased(self, name: str, alias: str) -> RegisteredModel | None:
        """The version that has an alias; missing when none has it.

        Raises:
            NotFoundError: The alias names a version that is gone.
        """
        version = self._aliases(name).get(alias)
        return None if version is None else self.get(name, version)

    def _change_aliases(self, name: str, change: Callable[[dict[str, int]], dict[str, int]]) -> None:
        folder = self._model_folder(name)
        with _writing(folder), (folder / ".aliases.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # Two aliases set at once must not lose one of them.
            aliases = change(self._aliases(name))
            write_atomically(folder / ALIASES_FILE, json.dumps(aliases, indent=1, sort_keys=True).encode() + b"\n")

    def _aliases(self, name: str) -> dict[str, int]:
        path = self._model_folder(name) / ALIASES_FILE
        try:
            content = json.loads(path.read_bytes())
            return {str(alias): int(version) for alias, version in content.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise RegistryError(
                f"The registry's aliases in {path} cannot be read",
                received=str(error),
                expected='{"champion": 3}',
                what_to_do="Restore the file, or remove it to start without a champion.",
            ) from error

    def _model_folder(self, name: str) -> Path:
        _check_name(name, "A model")
        return self._folder / name


def _claim(folder: Path, finished: Path, *, after: int) -> int:
    """Rename a finished version to the next free number; whoever is second takes the one after.

    A number that an alias names is never given again, though its version was removed: the alias would follow.
    """
    version = max([after, *_version_numbers(folder)]) + 1
    while True:
        try:
            finished.rename(folder / str(version))
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            version += 1
        else:
            return version


def _version_numbers(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if re.fullmatch(r"[1-9]\d*", entry.name))


def _check_name(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise ParameterError(
            f"{what} cannot have this name",
            received=repr(name),
            expected="a lowercase DNS label: a letter, then up to 62 letters, digits and dashes",
            what_to_do="Choose another name, for example flight-delays.",
        )


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, shutil.Error) as error:
        raise ResourceError(
            f"Cannot write to the registry in {folder}",
            received=f"{type(error).__name__}: {error}",
            expected="a writable folder with free space",
            what_to_do="Free space, or correct the permission, and run again: nothing was registered.",
        ) from error
