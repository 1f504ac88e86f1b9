"""Where a run is told of beside its own files: TensorBoard, Weights & Biases, profiler traces."""
