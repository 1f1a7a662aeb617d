"""Does pretraining help? Every encoder on every task, and a report from the predictions alone."""
