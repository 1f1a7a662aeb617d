"""Public sets of labelled images in the layouts they were published in, one file each."""
