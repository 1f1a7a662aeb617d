"""Before a run: which slides will fail and why, and what the others will take."""
