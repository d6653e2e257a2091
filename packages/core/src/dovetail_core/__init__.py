"""Libraries that the Dovetail packages share. No models and no migrations; only ``rest`` needs more than Django."""
