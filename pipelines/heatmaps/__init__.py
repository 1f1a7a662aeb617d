"""Values of tiles for people and programs: OME-Zarr, PNG, GeoJSON, and what they mean."""
