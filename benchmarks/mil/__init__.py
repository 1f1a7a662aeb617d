"""MIL heads on bags that everybody has, and what they cost by the size of a bag."""
