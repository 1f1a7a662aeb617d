"""A slide's tiles through the encoder: in one go, or of a large slide in blocks."""
