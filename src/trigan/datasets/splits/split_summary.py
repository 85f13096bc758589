"""A split in one line of text."""

from trigan.datasets.splits.split_info import PartInfo, SplitInfo


def split_summary(info: SplitInfo) -> str:
    """The sizes of the parts: ``70 labelled (7 of each class), 0 for validation, 1188 unlabelled, 539 test``."""
    parts = {
        "labelled": info.labelled,
        "for validation": info.validation,
        "unlabelled": info.unlabelled,
        "test": info.test,
    }
    return ", ".join(f"{part.size} {name}{_class_sizes(part)}" for name, part in parts.items())


def _class_sizes(part: PartInfo) -> str:
    """The images per class, where their labels are visible."""
    if not part.size or part.class_counts is None:
        return ""
    low, high = min(part.class_counts), max(part.class_counts)
    return f" ({low} of each class)" if low == high else f" ({low} to {high} of a class)"
