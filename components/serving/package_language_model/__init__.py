"""Package a trained model for serving."""
