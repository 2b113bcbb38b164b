"""What Kubeflow Pipelines puts into a value, and leaves as it stands where it does not fill it in."""

from __future__ import annotations

import re

RUN_PLACEHOLDER = "{{$.pipeline_job_uuid}}"
"""Stands for the run's id."""
OF_THE_RUN = re.compile(r"\{\{\$\.pipeline_(?:job|task)_\w+\}\}")
"""What the driver fills in where it is all of a value, such as the run's id."""
PLACEHOLDER = re.compile(r"\{\{\$\.(inputs|outputs|pipeline_\w+|workspace_path)\b[^}]*\}\}")
"""Any of them."""
