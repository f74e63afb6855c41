"""What a model costs: latency, multiply-accumulates, parameters."""

from kdnas.measure.latency import (
    InTorch,
    LatencySettings,
    Timed,
    measure_latencies,
    measure_latency,
    take_turns,
)
from kdnas.measure.macs import count_macs, count_params

__all__ = [
    "InTorch",
    "LatencySettings",
    "Timed",
    "count_macs",
    "count_params",
    "measure_latencies",
    "measure_latency",
    "take_turns",
]
