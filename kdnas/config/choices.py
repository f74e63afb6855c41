"""The values of options that offer a choice."""

from typing import Literal

Precision = Literal["auto", "fp32", "bf16"]
Objective = Literal["reward", "pareto"]
LatencyRuntime = Literal["torch", "onnx"]
Cost = Literal["latency", "macs", "params"]
Sampler = Literal["gp", "lstm", "tpe", "random", "nsga2", "nsga3", "qmc"]
RandomControl = Literal["off", "search", "full"]
ClassWeights = Literal["none", "balanced"]
Normalisation = Literal["layer", "dimension", "raw"]
# The students that a recipe is for: those with layers, or those without.
Students = Literal["layered", "static"]
STATIC = "static"
PruningMethod = Literal["ziplm", "gradient", "magnitude", "random"]
Tracker = Literal["off", "tensorboard", "wandb", "mlflow"]
Augmentation = Literal[
    "swap", "recombine", "neighbours", "contexts", "mask", "replace", "refill", "span", "corpus"
]

# The score that is of no loss, but of predictions, after a short run of the candidate's own recipe.
AGREEMENT = "agreement"

# What --search-over takes, with commas between them; the shape always.
DIMENSIONS = SHAPE, RECIPE, VOCABULARY, PRUNING = "shape", "recipe", "vocabulary", "pruning"
