"""Compare a model with the historical rate and with the champion."""
