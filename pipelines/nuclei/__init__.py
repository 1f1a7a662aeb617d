"""Nuclei of whole slides: found block by block, joined, measured, drawn and counted."""
