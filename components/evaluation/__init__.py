"""Steps of the area `evaluation`."""
