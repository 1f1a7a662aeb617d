"""Does pretraining help? Labelled images, what is fitted on embeddings, honest statistics."""
