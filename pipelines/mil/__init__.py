"""Multiple-instance learning: from the tiles of a slide to one answer about it."""
