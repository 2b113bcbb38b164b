"""What becomes of a wait when the API server goes away, drops it, or is overloaded."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stepworks.kube.api.cluster import Cluster, connect
from stepworks.kube.api.objects import list_objects
from stepworks.kube.api.references import Selection
from testbed.bed import Bed
from tests.control_plane.faults.proxy import LOST, proxy_before
from tests.control_plane.jobs import job_of_run, run
from tests.control_plane.pods import holding, let_succeed, running
from tests.waiting import wait_for


def test_the_api_server_is_killed_and_comes_back(bed: Bed, cluster: Cluster) -> None:
    with ThreadPoolExecutor() as pool:
        ended = pool.submit(run, cluster, job_of_run("train", outcome="running"))
        pod = running(cluster)[0]
        bed.daemons["kube-apiserver"].kill()
        time.sleep(3)  # it is away for a while
        assert not ended.done()
        bed.restart("kube-apiserver")
        let_succeed(cluster, pod)
        assert ended.result(60)["status"]["succeeded"] == 1


def test_a_job_that_ends_while_the_api_server_is_away_for_its_step(bed: Bed, cluster: Cluster, tmp_path: Path) -> None:
    """The watch is cut; what happened until it is taken up again is not missed."""
    with proxy_before(bed, tmp_path) as (proxy, kubeconfig), ThreadPoolExecutor() as pool:
        through = connect(kubeconfig=kubeconfig, namespace=cluster.namespace)
        ended = pool.submit(run, through, job_of_run("train", outcome="running"))
        pod = running(cluster)[0]
        wait_for("the step watches", proxy.count_watches)
        proxy.failures["GET"].extend([503] * 3)
        assert proxy.cut_watches() == 1
        let_succeed(cluster, pod)
        assert ended.result(60)["status"]["succeeded"] == 1
        assert not proxy.faults_left()


def test_watches_that_are_cut_again_and_again(bed: Bed, cluster: Cluster, tmp_path: Path) -> None:
    with proxy_before(bed, tmp_path) as (proxy, kubeconfig), ThreadPoolExecutor() as pool:
        through = connect(kubeconfig=kubeconfig, namespace=cluster.namespace)
        ended = pool.submit(run, through, job_of_run("train", outcome="running"))
        pod = running(cluster)[0]
        for _ in range(5):
            wait_for("the step watches", proxy.count_watches)
            before = proxy.watches_begun
            proxy.cut_watches()
            wait_for("it watches again", lambda before=before: proxy.watches_begun > before)
        let_succeed(cluster, pod)
        assert ended.result(60)["status"]["succeeded"] == 1


def test_an_overloaded_api_server(bed: Bed, cluster: Cluster, tmp_path: Path) -> None:
    """Reading and making are refused at first, and the answer that the Job was made is lost."""
    with proxy_before(bed, tmp_path) as (proxy, kubeconfig):
        through = connect(kubeconfig=kubeconfig, namespace=cluster.namespace)
        proxy.failures["GET"].extend([429, 500, 503, 429])
        proxy.failures["POST"].extend([429, 503, LOST])
        assert run(through, job_of_run("train"))["status"]["succeeded"] == 1
        assert not proxy.faults_left()
        made = [path for method, path in proxy.passed if method == "POST" and path.partition("?")[0].endswith("/jobs")]
        assert len(made) == 2  # the one whose answer was lost, and the one that found it there
    assert not holding(cluster)
    assert len(list_objects(cluster, Selection("batch/v1", "Job"))) == 1
