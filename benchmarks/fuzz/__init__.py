"""Malformed files, made by seeded mutation of good ones, against everything that parses."""
