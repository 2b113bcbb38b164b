"""Steps of the area `serving`."""
