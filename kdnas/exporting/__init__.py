"""Students where they are served: ONNX files, int8, and what they cost and score there."""
