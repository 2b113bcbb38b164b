"""Steps of the area `operations`: what a run needs around its work."""
