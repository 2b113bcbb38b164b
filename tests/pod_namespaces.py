"""Whether process nodes can give pods namespaces of their own, for the tests that need them."""

from __future__ import annotations

import os
import sys

MISSING = sys.platform != "linux" or os.geteuid() != 0
