"""Write-only views of a run: nothing here returns anything that training could depend on."""

from trigan.tracking.curve_files import MetricsFile
from trigan.tracking.tracker import Product, RunInfo, Tracker, Tracking

__all__ = ["MetricsFile", "Product", "RunInfo", "Tracker", "Tracking"]
