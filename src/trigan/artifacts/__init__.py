"""What a fit leaves on the disk: the content-addressed store of trained stages, and atomic checkpoints."""
