"""What is known of kinds and of the JSON of their objects, without asking a cluster."""
