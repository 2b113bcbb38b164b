"""Running the flagship through the command, as a user does."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from stepworks.report.run_record import RunRecord
from tests.processes import environment_with


@dataclass(frozen=True)
class Ended:
    """A run of the command that has ended."""

    exit_code: int
    output: str
    errors: str
    folder: Path

    @property
    def record(self) -> RunRecord:
        return RunRecord.model_validate_json((self.folder / "run.json").read_bytes())


def run_flagship(home: Path, *options: str) -> Ended:
    """Run the flagship through the command, as a user does."""
    before = set(home.glob("runs/*"))
    ended = subprocess.run(
        [sys.executable, "-m", "stepworks", "run", "tabular_train_and_deploy", "--home", str(home), *options],
        env=environment_with(home),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    (folder,) = set(home.glob("runs/*")) - before or {home}
    return Ended(ended.returncode, ended.stdout, ended.stderr, folder)
