"""What predictions of slides are worth, measured as a clinical study would."""
