"""Slides made of GlaS images through the whole pipeline, and what it says of them."""
