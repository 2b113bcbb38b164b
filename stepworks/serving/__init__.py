"""Model packages, model servers and roll-outs."""
