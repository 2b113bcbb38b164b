"""Shifting traffic to a new version step by step, and back when it is worse.

`roll_out` drives any `TrafficBackend` by what `stepworks.serving.judging` decides; neither knows of the other.
"""
