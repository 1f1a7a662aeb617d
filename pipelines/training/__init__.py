"""Trainings that are killed and gone on with: only if nothing that decides them has changed."""
