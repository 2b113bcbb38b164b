"""Make the folder of a run in a claim that stays."""
