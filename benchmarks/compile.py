"""`make bench-compile`: compiling all pipelines for all Kubeflow targets, against `import kfp`: whole processes."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from side_by_side import alternate, show

ROOT = Path(__file__).parents[1]

KUBEFLOW_TARGETS = ("a100", "amd", "mig")
"""Vertex AI's is left out: it imports Google Cloud's components, where they are installed."""


def main() -> None:
    """Compare the two, then the command's help with nothing."""
    with tempfile.TemporaryDirectory() as output:
        targets = [option for name in KUBEFLOW_TARGETS for option in ("--target", name)]
        ours = [sys.executable, "-m", "stepworks", "compile", "--output", output, *targets]
        kfp = [sys.executable, "-c", "import kfp"]
        show("compile everything", *alternate(ours, kfp, rounds=9, folder=ROOT), limit=1.5)
    help_, nothing = [sys.executable, "-m", "stepworks", "--help"], [sys.executable, "-c", "pass"]
    ours_, _ = alternate(help_, nothing, rounds=9, folder=ROOT)
    print(f"{'stepworks --help':<24} cpu {min(ours_.cpu):.2f} s at best of {len(ours_.cpu)} (to be under 0.3)")
    sizes = sorted((ROOT / "compiled").glob("*/*/*.yaml"))
    for path in sizes:
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1000:.1f} kB (to be at most 40)")


if __name__ == "__main__":
    main()
