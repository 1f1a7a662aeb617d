"""Tissue classes at every pixel: labelled images, networks, training, measures."""
