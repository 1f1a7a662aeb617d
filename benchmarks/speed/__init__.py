"""`raypath benchmark tiling|embedding|cluster`: measured beside peers, in turns and in one run."""
