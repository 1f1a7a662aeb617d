"""Nuclei teachers: labelled images, a U-Net at full resolution, its training and its use."""
