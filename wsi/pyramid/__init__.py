"""A slide as an OME-Zarr image: what it will hold, the parts it is written in, its metadata."""
