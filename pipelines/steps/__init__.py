"""What is done to one slide, one file a step; each step's outputs are covered by a receipt."""
