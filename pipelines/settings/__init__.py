"""What is asked of a run: `--config`, defaults, limits and resources, and what is wrong there."""
