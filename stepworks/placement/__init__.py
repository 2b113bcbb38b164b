"""Where a task runs: pure data and rules."""
