"""Processes of real runs killed at random moments, and what is left of the results."""
