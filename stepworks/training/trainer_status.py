"""Progress in the status of a TrainJob, where Kubeflow Trainer takes it.

Trainer 2.2 and later, with its feature gate TrainJobStatus, gives pods the address, the certificate and the token by
three environment variables. It is an extra: what cannot be sent is dropped, and training does not wait for it.
"""

from __future__ import annotations

import json
import logging
import math
import os
import ssl
import threading
import time
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any

_URL, _CERTIFICATE, _TOKEN = (f"KUBEFLOW_TRAINER_SERVER_{name}" for name in ("URL", "CA_CERT", "TOKEN"))
_SECONDS_BETWEEN = 5.0
_TIMEOUT_SECONDS = 5.0
_SECONDS_TO_END = 6.0

logger = logging.getLogger(__name__)


class TrainerStatus:
    """Listens to the lines of metrics, and sends the newest at most every five seconds. To be used as a context.

    Args:
        environment: Where the three variables are; without them nothing is sent.
        seconds_between: The least time between two messages.
    """

    def __init__(
        self, environment: Mapping[str, str] = os.environ, *, seconds_between: float = _SECONDS_BETWEEN
    ) -> None:
        self._url = environment.get(_URL, "")
        self._token = environment.get(_TOKEN, "")
        self._certificate = environment.get(_CERTIFICATE)
        self._seconds_between = seconds_between
        self._began = time.monotonic()
        self._first_step: int | None = None
        self._newest: dict[str, Any] | None = None
        self._lock = threading.Lock()  # between setting the newest and taking it
        self._changed, self._ended = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> TrainerStatus:
        if self._url and self._token:
            self._thread = threading.Thread(target=self._send_all, name="trainer-status", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._ended.set()
            self._changed.set()
            self._thread.join(_SECONDS_TO_END)

    def __call__(self, kind: str, figures: dict[str, Any]) -> None:
        """Take a line of metrics, if it is about a step."""
        if kind == "step" and self._thread is not None:
            status = self._status(figures)
            with self._lock:
                self._newest = status
            self._changed.set()

    def _status(self, figures: dict[str, Any]) -> dict[str, Any]:
        """The status as Trainer takes it; at most 99 percent, since the model is still to be written then."""
        step, steps = figures["step"], figures["of"]
        if self._first_step is None:
            self._first_step, self._began = step, time.monotonic()
        status: dict[str, Any] = {
            "lastUpdatedTime": datetime.now(UTC).isoformat(),
            "progressPercentage": min(99, 100 * step // steps),
            "metrics": [
                {"name": name, "value": str(value)}
                for name, value in figures.items()
                if isinstance(value, int | float) and math.isfinite(value)
            ],
        }
        if step > self._first_step:
            seconds = (time.monotonic() - self._began) / (step - self._first_step)
            status["estimatedRemainingSeconds"] = round(seconds * (steps - step))
        return status

    def _send_all(self) -> None:
        """Send the newest status whenever there is one, and the last one before the end."""
        while not self._ended.is_set():
            self._changed.wait()
            self._changed.clear()
            self._send_newest()
            self._ended.wait(self._seconds_between)
        self._send_newest()

    def _send_newest(self) -> None:
        with self._lock:
            status, self._newest = self._newest, None
        if status is None:
            return
        try:
            token = Path(self._token).read_text(encoding="utf-8").strip()
            request = urllib.request.Request(  # noqa: S310 - the address is the controller's
                self._url,
                data=json.dumps({"trainerStatus": status}).encode(),
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                method="POST",
            )
            context = ssl.create_default_context(cafile=self._certificate) if self._certificate else None
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS, context=context):  # noqa: S310
                return
        except (OSError, ValueError, HTTPException) as error:
            logger.debug("The status of the TrainJob was not updated: %s", error)
