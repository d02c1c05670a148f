"""What moves the answer: patches, ablations and paths, found by computing only what an edit changes."""
