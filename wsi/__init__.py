"""Slides, pixels and coordinates: everything below the models and the cluster."""
