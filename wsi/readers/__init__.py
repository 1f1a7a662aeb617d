"""One file a library that decodes slides."""
