"""`make bench-flagship`: the flagship's local run, rehearsal included, and where its time goes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Run it twice in one home: without a champion, then against the first run's model."""
    with tempfile.TemporaryDirectory() as home:
        for title in ("no champion yet", "against the champion"):
            command = [
                sys.executable, "-m", "stepworks", "run", "tabular_train_and_deploy", "--rehearse-roll-back",
                "--home", home,
            ]  # fmt: skip
            started = time.monotonic()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            print(f"flagship, {title}: {time.monotonic() - started:.1f} s in all (to be at most 90)")
            record = json.loads(max(Path(home).glob("runs/*/run.json")).read_text())
            for step in sorted(record["steps"], key=lambda step: -step["seconds"]):
                print(f"  {step['name']:<18} {step['seconds']:5.1f} s")


if __name__ == "__main__":
    main()
