"""The standalone host: a picture as one HTML file that opens from disk."""
