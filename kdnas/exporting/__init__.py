"""Students where they are served: plain checkpoints, ONNX files, int8, the hub."""
