"""Tissue classes of whole slides: seen block by block, blended, measured and drawn."""
