"""The whole chain on made-up slides whose truth is known."""
