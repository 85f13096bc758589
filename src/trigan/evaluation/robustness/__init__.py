"""What a classifier answers for images that were changed: adversarial attacks and common corruptions."""
