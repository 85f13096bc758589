"""What stays of a fit: identities, the content-addressed store, atomic checkpoints."""
