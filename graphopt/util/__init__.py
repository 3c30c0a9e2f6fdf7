"""What every part of the engine may use; it knows nothing of models."""
