"""Models and their pretraining: encoders, the nuclei teacher and RCKD."""
