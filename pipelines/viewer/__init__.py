"""A run's slides and heatmaps in a web browser."""
