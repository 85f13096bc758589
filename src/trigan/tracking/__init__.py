"""Write-only views of a run: nothing here returns anything that training could depend on."""

from trigan.tracking.curve_files import MetricsFile
from trigan.tracking.tracker import RunInfo, TrackedArtifact, Tracker, Tracking

__all__ = ["MetricsFile", "RunInfo", "TrackedArtifact", "Tracker", "Tracking"]
