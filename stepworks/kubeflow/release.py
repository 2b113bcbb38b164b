"""Releases: `compiled/index.json` records the digest of each released file, which never changes after that."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stepworks.errors import ConfigurationError, NotFoundError, UserError
from stepworks.files import write_atomically
from stepworks.settings_file import describe_faults

INDEX = "index.json"
"""The index's name in the folder of compiled files."""

_SHA256 = r"^[0-9a-f]{64}$"


class ReleasedFile(BaseModel):
    """A file that was released.

    Attributes:
        sha256: Its digest.
        kfp: What compiled it, as the IR says: `kfp-2.17.0`.
        revision: The Git commit of the source that it was compiled from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Annotated[str, Field(pattern=_SHA256)]
    kfp: str
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40,64}$")]


class ReleaseIndex(BaseModel):
    """What was released, by pipeline, version and target."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    releases: dict[str, dict[str, dict[str, ReleasedFile]]] = Field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the index of a folder of compiled files; empty when there is none yet.

        Raises:
            ConfigurationError: The file is not an index.
        """
        path = folder / INDEX
        return cls.parse(path.read_bytes(), str(path)) if path.exists() else cls()

    @classmethod
    def parse(cls, content: bytes, name: str) -> Self:
        """Read an index from its bytes; `name` is what messages call it."""
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            raise ConfigurationError(
                f"{name} is not an index of releases",
                received=describe_faults(error),
                expected="JSON as `stepworks release` writes it",
                what_to_do="Take back the last change of the file; it is not written by hand.",
            ) from error

    def write(self, folder: Path) -> None:
        """Write the index, sorted, so that two branches that release conflict in one line only."""
        content = json.dumps(self.model_dump(), indent=2, sort_keys=True) + "\n"
        write_atomically(folder / INDEX, content.encode())

    def find(self, pipeline: str, version: str, target: str) -> ReleasedFile | None:
        """The release of one file; None when it is not released."""
        return self.releases.get(pipeline, {}).get(version, {}).get(target)

    def is_released(self, pipeline: str, version: str, target: str) -> bool:
        """Whether a file is released."""
        return self.find(pipeline, version, target) is not None

    def with_file(self, pipeline: str, version: str, target: str, released: ReleasedFile) -> ReleaseIndex:
        """This index and one release more."""
        releases = self.model_dump()["releases"]
        releases.setdefault(pipeline, {}).setdefault(version, {})[target] = released.model_dump()
        return ReleaseIndex(releases=releases)

    def entries(self) -> Iterable[tuple[str, str, str, ReleasedFile]]:
        """Each release: pipeline, version, target and what is recorded."""
        for pipeline, versions in sorted(self.releases.items()):
            for version, targets in sorted(versions.items()):
                for target, released in sorted(targets.items()):
                    yield pipeline, version, target, released

    def check_files(self, folder: Path) -> int:
        """See that each released file is there as it was released; return how many there are.

        Raises:
            NotFoundError: There is no such folder.
            UserError: One is missing or changed; the message names all.
        """
        if not folder.is_dir():
            raise NotFoundError(
                f"There is no folder {folder}/ of compiled files",
                what_to_do="Run in the folder of the checkout, or name the folder with --compiled.",
            )
        faults = []
        for pipeline, version, target, released in self.entries():
            path = folder / pipeline / version / f"{target}.yaml"
            if not path.is_file():
                faults.append(f"{path} is missing")
            elif sha256_of(path.read_bytes()) != released.sha256:
                faults.append(f"{path} has changed")
        _raise_faults(faults, "as it was released; a released version never changes")
        return sum(1 for _ in self.entries())

    def check_file(self, pipeline: str, version: str, target: str, content: bytes) -> None:
        """See that a file, if it is released, has the bytes that it was released with.

        Raises:
            UserError: It has others.
        """
        released = self.find(pipeline, version, target)
        if released and sha256_of(content) != released.sha256:
            _raise_faults([f"{pipeline} {version} for {target} has changed"], "the bytes that it was released with")

    def check_successor(self, earlier: ReleaseIndex, revision: str) -> None:
        """See that nothing that was released earlier is gone or another.

        Args:
            earlier: The index of an earlier revision.
            revision: That revision, for the message.

        Raises:
            UserError: A release is gone, or has another digest.
        """
        faults = [
            f"{pipeline} {version} for {target} {'is gone' if now is None else 'has another digest'}"
            for pipeline, version, target, released in earlier.entries()
            if (now := self.find(pipeline, version, target)) is None or now.sha256 != released.sha256
        ]
        _raise_faults(faults, f"all that {revision} holds")


def _raise_faults(faults: list[str], expected: str) -> None:
    if faults:
        raise UserError(
            f"{len(faults)} released file(s) are not what was released",
            received="; ".join(faults),
            expected=expected,
            what_to_do="Take back the change (git checkout), and give the pipeline a new version for what is new.",
        )


def sha256_of(content: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


_SDK_VERSION = re.compile(r"^sdkVersion: (\S+)$", re.MULTILINE)


def compiler_of(text: str) -> str:
    """What compiled an IR file, as it says itself: `kfp-2.17.0`."""
    match = _SDK_VERSION.search(text)
    return match[1] if match else "unknown"


def release_files(
    index: ReleaseIndex, files: Mapping[tuple[str, str, str], str], revision: str
) -> tuple[ReleaseIndex, list[tuple[str, str, str]]]:
    """Record files in an index.

    Args:
        index: What is released so far.
        files: The text of each file, by pipeline, version and target.
        revision: The commit that they were compiled from.

    Returns:
        The new index, and what is new in it. What was released before, with the same bytes, stays as it was.

    Raises:
        UserError: A version is released with other bytes.
    """
    new = []
    for (pipeline, version, target), text in files.items():
        content = text.encode()
        index.check_file(pipeline, version, target, content)
        if not index.is_released(pipeline, version, target):
            released = ReleasedFile(sha256=sha256_of(content), kfp=compiler_of(text), revision=revision)
            index = index.with_file(pipeline, version, target, released)
            new.append((pipeline, version, target))
    return index, new
