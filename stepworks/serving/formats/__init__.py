"""The layouts that model servers read, and how a trained model gets into each."""
