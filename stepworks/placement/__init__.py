"""Where a task runs: pure data and rules, without KFP and without a Kubernetes client."""
