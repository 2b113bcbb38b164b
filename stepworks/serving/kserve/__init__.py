"""Serving on a Kubernetes cluster, by KServe: versions as InferenceServices, and the traffic between them."""
