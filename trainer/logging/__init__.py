"""What a run tells of itself: figures of a step, the journal, TensorBoard, Weights & Biases, traces, curves."""
