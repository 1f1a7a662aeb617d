"""Which slides are meant: a manifest, folders and files, and whose each slide is."""
