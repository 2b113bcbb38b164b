"""Steps of the area `data`."""
