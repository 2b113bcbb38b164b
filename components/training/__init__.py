"""Steps of the area `training`."""
