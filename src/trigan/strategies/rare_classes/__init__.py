"""What is done to a trained C where classes are rare: a new head, or other logits."""
