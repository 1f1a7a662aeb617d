"""`raypath pretrain`: from images or slides to an encoder's folder."""
