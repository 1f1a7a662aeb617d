"""Teachers that others published: their weights, in networks with the outputs of our own."""
