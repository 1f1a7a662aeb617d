"""The layouts in which labelled nuclei are published, one file each."""
