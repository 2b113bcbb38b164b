"""What a run makes for itself before its work and removes after it, in a cluster and on a laptop."""
