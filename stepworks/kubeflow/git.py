"""What a release asks of Git."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stepworks.errors import UserError


@dataclass(frozen=True)
class Repository:
    """The Git repository that a folder is in."""

    folder: Path

    def revision(self) -> str:
        """The commit that is checked out."""
        return self._git("rev-parse", "HEAD").decode().strip()

    def require_clean(self, index: str) -> None:
        """See that everything in the repository is committed, but for the index itself, which is named `index`.

        Raises:
            UserError: Files are changed, or new; the message names some.
        """
        # `-z` ends each entry with a zero byte, so that a name is never quoted; `XY name`.
        entries = self._git("status", "--porcelain", "-z").decode(errors="replace").split("\0")
        changed = [entry[3:] for entry in entries if entry and not entry.endswith(f"/{index}")]
        if changed:
            raise UserError(
                "The source of the release is not committed",
                received=", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else ""),
                expected="a clean checkout, so that the commit that is recorded is what was compiled",
                what_to_do="Commit the changes, then release.",
            )

    def file_at(self, revision: str, path: str) -> bytes | None:
        """A file's content at a revision; None when it was not there.

        Raises:
            UserError: There is no such revision.
        """
        self._git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", missing=f"the revision {revision}")
        try:
            return self._git("show", f"{revision}:./{path}")
        except UserError:
            return None

    def require_tracked(self, paths: Iterable[Path]) -> None:
        """See that Git knows some files; one that it ignores does not show as changed.

        Raises:
            UserError: It does not know one.
        """
        unknown = [path for path in paths if not self._git("ls-files", "--", str(path.resolve())).strip()]
        if unknown:
            raise UserError(
                "The source of the release is not in Git",
                received=", ".join(map(str, unknown)),
                expected="files that are committed",
                what_to_do="Add and commit them; where .gitignore names them, correct it.",
            )

    def _git(self, *arguments: str, missing: str = "") -> bytes:
        try:
            done = subprocess.run(["git", *arguments], cwd=self.folder, capture_output=True, check=False)
        except FileNotFoundError as error:
            raise UserError("Git is not installed", what_to_do="Install it: apt install git") from error
        if done.returncode:
            raise UserError(
                f"Git does not know {missing}" if missing else f"git {arguments[0]} failed",
                received=done.stderr.decode(errors="replace").strip() or "no such object",
                what_to_do="Run in the checkout; where its history is cut (a shallow clone), fetch all of it.",
            )
        return done.stdout
