"""A slide becomes a pyramid: the tasks of it, begun, written in parts, finished."""
