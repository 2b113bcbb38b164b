"""`kubectl port-forward` to a pod of a process node."""

from __future__ import annotations

import http.client
import re
import subprocess

from stepworks.kube.api.cluster import Cluster
from testbed.bed import Bed
from tests.control_plane.testbed.test_process_nodes import isolated, python, start

SERVER = """
import http.server
http.server.SimpleHTTPRequestHandler.protocol_version = "HTTP/1.1"  # it lets the client hang up
http.server.ThreadingHTTPServer(("", 8080), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@isolated
def test_one_connection_after_the_other_is_forwarded(process_bed: Bed, process_cluster: Cluster) -> None:
    readiness = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    start(process_cluster, "server", [python(SERVER, readinessProbe=readiness)])
    process_bed.kubectl("wait", "-n", process_cluster.namespace, "--for=condition=Ready", "pod/server")
    process_bed.write_kubectl()
    forward = [str(process_bed.folder / "kubectl"), "-n", process_cluster.namespace, "port-forward", "pod/server"]
    with subprocess.Popen([*forward, ":8080"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            (port,) = re.findall(r":(\d+) ->", process.stdout.readline())
            for _ in range(3):
                connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
                connection.request("GET", "/")
                assert connection.getresponse().read()
                connection.close()
        finally:
            process.terminate()
