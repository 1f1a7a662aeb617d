"""Reading a run again: whether every file is as it was written, and holds what it should."""
