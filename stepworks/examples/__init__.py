"""What a user of Stepworks writes in a repository of their own: code that `training/train` runs."""
