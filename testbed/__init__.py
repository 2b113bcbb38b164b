"""A real control plane on this machine, without containers: etcd, Kubernetes, KServe, Trainer, JobSet and their nodes.

`make cluster-up` starts one; the tests in tests/control_plane start their own. See README.md beside this file.
"""
