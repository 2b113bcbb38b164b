"""Steps of the area `registry`."""
