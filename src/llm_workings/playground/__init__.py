"""Dense networks whose every step is an immutable, replayable record. NumPy, float64."""
