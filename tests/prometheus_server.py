"""A real Prometheus, which Debian has as a package."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from testbed.ports import choose_ports
from tests.waiting import wait_for

MISSING = shutil.which("prometheus") is None
WHY_MISSING = "there is no prometheus here; on Debian: apt install prometheus"
SCRAPE_SECONDS = 1


@contextmanager
def running_prometheus(folder: Path, targets: Sequence[str], labels: dict[str, str]) -> Iterator[str]:
    """Scrape targets every second; the server's address.

    Args:
        folder: Holds its data and its log.
        targets: Each `host:port`.
        labels: What every series gets, as the discovery in a cluster gives it the namespace.
    """
    (port,) = choose_ports(1)
    folder.mkdir(parents=True, exist_ok=True)
    scraped = [{"targets": list(targets), "labels": labels}]
    configuration = {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "scrape_timeout": f"{SCRAPE_SECONDS}s"},
        "scrape_configs": [{"job_name": "models", "static_configs": scraped}],
    }
    path = folder / "prometheus.json"
    path.write_text(json.dumps(configuration))  # JSON is YAML
    options = [f"--config.file={path}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            ["prometheus", *options, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for("Prometheus is ready", lambda: _is_ready(url))
        yield url
    finally:
        process.kill()
        process.wait()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
