"""Work on a slide that falls into blocks, each done once, wherever, and stored until all are."""
