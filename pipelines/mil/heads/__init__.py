"""Heads: from a bag of embeddings to the logits of its slide. One file a head."""
