"""Where tasks run: in this process or on Ray. Knows callables and slides, not models."""
