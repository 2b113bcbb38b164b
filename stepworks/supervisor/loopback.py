"""HTTP on this machine."""

from __future__ import annotations

import urllib.request

# Loopback is never behind the proxy that the environment may name.
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens addresses without a proxy."""
