"""Roll a deployed model out as a canary."""
