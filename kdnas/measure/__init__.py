"""What a model costs: latency, multiply-accumulates, parameters."""

from kdnas.measure.latency import Latency, LatencySettings, measure_latency
from kdnas.measure.macs import count_macs, count_params

__all__ = ["Latency", "LatencySettings", "count_macs", "count_params", "measure_latency"]
