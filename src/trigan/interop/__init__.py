"""Files that other programs read or write: ONNX, splits, submitted predictions."""
