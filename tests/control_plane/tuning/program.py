"""A training program of somebody's own: it reports its loss, and writes its model where it is told."""

import json
import os
import pathlib
import sys

rate, kind = sys.argv[1:]
with pathlib.Path(os.environ["STEPWORKS_METRICS"]).open("a") as metrics:
    metrics.write(json.dumps({"step": 1, "loss": abs(float(rate) - 0.3)}) + "\n")
model = pathlib.Path(os.environ["STEPWORKS_MODEL"])
model.mkdir(exist_ok=True)
(model / "weights").write_text(f"{rate} {kind}")
