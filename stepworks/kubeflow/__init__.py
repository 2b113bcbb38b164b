"""All that touches Kubeflow Pipelines."""
