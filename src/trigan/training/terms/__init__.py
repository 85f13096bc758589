"""Terms of C's loss on further images: samples, pseudo-labelled and unlabelled ones."""
