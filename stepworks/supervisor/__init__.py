"""What outlives a step on a laptop: background processes, and folders that stand for claims.

In a cluster, Kubernetes keeps model servers and volumes alive between steps. On a laptop the process that runs
the pipeline does: it owns a `Supervisor`, and gives each step one environment variable,
`STEPWORKS_SUPERVISOR`, through which a step reaches it (`SupervisorClient`). Without that variable a step is
in a cluster, or alone.
"""

ENVIRONMENT_VARIABLE = "STEPWORKS_SUPERVISOR"
"""The address of the supervisor's control endpoint on loopback, its random token included.

It is set in the environment of each step of a local run and nowhere else; it is never part of the IR.
"""
