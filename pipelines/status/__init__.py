"""How far a run is: what its driver writes, and what is read from its folder."""
