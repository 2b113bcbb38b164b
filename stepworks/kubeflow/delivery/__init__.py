"""The way to Kubeflow: upload versions, submit runs, keep schedules."""
