"""Which files are compared: two files, or the compiled pipelines of two folders."""

from __future__ import annotations

from pathlib import Path

from stepworks.errors import NotFoundError, UserError
from stepworks.kubeflow.diff.change import version_due
from stepworks.kubeflow.diff.compare import compare
from stepworks.kubeflow.diff.render import FileDifference
from stepworks.kubeflow.ir.read import read_ir
from stepworks.kubeflow.semantic_version import SemanticVersion


def diff_paths(before: Path, after: Path) -> list[FileDifference]:
    """Compare two compiled files, or two folders of compiled files.

    In folders, each file of the later one is compared with the one at the same place; a new version with the newest
    earlier version for the same target. Files with the same bytes are left out.

    Raises:
        NotFoundError: There is no such path.
        UserError: One is a file, and the other a folder.
        ConfigurationError: A file is not a compiled pipeline.
    """
    for path in (before, after):
        if not path.exists():
            raise NotFoundError(f"There is no {path}", what_to_do="Name two compiled files, or two folders of them.")
    if before.is_dir() != after.is_dir():
        raise UserError(
            "A file cannot be compared with a folder",
            received=f"{before} and {after}",
            expected="two compiled files, or two folders of them",
        )
    if not before.is_dir():
        return [_diff_files(f"{before} -> {after}", before, after)]
    return _diff_folders(before, after)


def _diff_folders(before: Path, after: Path) -> list[FileDifference]:
    old, new = (
        {path.relative_to(folder): path for path in sorted(folder.glob("*/*/*.yaml"))} for folder in (before, after)
    )
    if not old and not new:
        raise NotFoundError(
            f"There is no compiled pipeline in {before} and {after}",
            expected="<pipeline>/<version>/<target>.yaml below one of them",
            what_to_do="Name the folder that `stepworks compile` writes, or two files.",
        )
    found = []
    for place, path in new.items():
        same = old.get(place)
        if same is not None and same.read_bytes() == path.read_bytes():
            continue
        pipeline, version, target = place.parts[0], place.parts[1], path.stem
        earlier = same or _newest_before(old, pipeline, version, target)
        name = f"{pipeline} {version}, target {target}"
        if earlier is None:
            found.append(FileDifference(name, None, str(path), None, version))
        else:
            found.append(_diff_files(name, earlier, path))
    gone = [place for place in old if place not in new]
    found += [
        FileDifference(f"{place.parts[0]} {place.parts[1]}, target {place.stem}", str(old[place]), None, None)
        for place in gone
    ]
    return found


def _newest_before(files: dict[Path, Path], pipeline: str, version: str, target: str) -> Path | None:
    """The newest version of a pipeline for a target that is older than `version`."""
    limit = SemanticVersion.parse(version)
    versions = [
        (parsed, path)
        for place, path in files.items()
        if place.parts[0] == pipeline
        and place.stem == target
        and (parsed := SemanticVersion.parse(place.parts[1]))
        and (limit is None or parsed < limit)
    ]
    return max(versions, key=lambda each: each[0])[1] if versions else None


def _diff_files(name: str, before: Path, after: Path) -> FileDifference:
    difference = compare(read_ir(before), read_ir(after))
    later = SemanticVersion.parse(after.parent.name)
    return FileDifference(
        name,
        str(before),
        str(after),
        difference,
        str(later) if later else None,
        version_due(before.parent.name, difference.due),
    )
