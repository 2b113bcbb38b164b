"""Judging a canary: pure functions from what both arms did to a decision with its reason.

`counts` is what is looked at, `metrics` turns it into bad events, `evidence` weighs them against the candidate,
`bounds` says how much worse it can be, `guards` when nothing may be judged, `verdict` decides, and `forecast` tells
beforehand whether a plan can reach a decision. `settings` holds every number that a user may change.
"""
