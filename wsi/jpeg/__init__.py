"""JPEG tiles as chunks of a Zarr array: copied from a slide as they are, decoded when read."""
