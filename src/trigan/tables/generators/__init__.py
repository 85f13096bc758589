"""What a table says of generators."""
