"""Weights that come with the package: `default` is the model of a run that names none."""
