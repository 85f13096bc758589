"""Where images come from: one frozen dataclass per kind, each with ``load(cache) -> ImageDataset``."""
