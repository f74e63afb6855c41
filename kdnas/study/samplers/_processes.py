"""Gaussian processes that predict what a candidate would give, one for each output.

After Snoek, Larochelle and Adams, "Practical Bayesian Optimization of Machine Learning Algorithms"
(NeurIPS 2012): a Matern kernel of order 5/2 with a length scale for each parameter, fitted by
maximum likelihood. Their means and deviations are those of Rasmussen and Williams, "Gaussian
Processes for Machine Learning" (2006).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import minimize
from scipy.stats import norm

from kdnas.study.samplers._candidates import Codes, Floats
from kdnas.study.samplers._predictor import Evidence

# What scales of parameters and noise may be, for parameters and targets of variance 1 or so.
_SPREAD, _LENGTHS, _NOISE = (0.1, 10.0), (0.5, 50.0), (1e-3, 0.5)
_FIRST_LENGTH, _FIRST_NOISE = 2.0, 0.05
# From the middle of a parameter's range to its ends, and between choices without an order.
_APART = 1.5
# Variance of the noise of a target that counts half, beside that of one that counts in full.
_HALF = 0.1
_LEAST_DOUBT = 1e-9
# Steps of the fit; trials that it reads at most, as its time grows with their cube.
_STEPS, _MOST = 40, 300
# Candidates that are predicted together.
_CHUNK = 4_096


@dataclass(frozen=True)
class GaussianProcesses:
    """The posterior as members: equally likely values of it, in the same order for all candidates.

    Attributes:
        members: How many.
    """

    members: int = 16
    errs_alike: ClassVar[bool] = False

    def predict(self, evidence: Evidence) -> Floats:
        """Values of the posterior of each output, shape (members, candidates, outputs)."""
        rng = np.random.default_rng(evidence.seed)
        rows = np.arange(len(evidence.codes))
        if len(rows) > _MOST:
            rows = np.sort(rng.choice(rows, _MOST, replace=False))
        seen, pending, asked = (
            features(evidence.log_levels, codes)
            for codes in (evidence.codes[rows], evidence.pending, evidence.pool)
        )
        # Of mean 0 and variance 1, in an order of its own for each output.
        points = norm.ppf((np.arange(self.members) + 0.5) / self.members)
        points = points / points.std()
        outputs = evidence.targets.shape[1]
        found = np.empty((self.members, len(asked), outputs))
        for output in range(outputs):
            mean, deviation = _posterior(
                *(seen, evidence.targets[rows, output], evidence.weights[rows], pending, asked)
            )
            found[:, :, output] = mean + rng.permutation(points)[:, None] * deviation
        return found


def features(levels: Sequence[Floats], codes: Codes) -> Floats:
    """Places of candidates, shape (candidates, features): about as far apart in each.

    A parameter whose choices have an order is one feature, another has one for each choice.
    """
    columns = list[Floats]()
    for place, own in enumerate(levels):
        if own.any():
            columns.append(own[codes[:, place]] * _APART)
        elif len(own) > 1:
            columns += [(codes[:, place] == choice) * _APART for choice in range(len(own))]
    return np.stack(columns, axis=1) if columns else np.zeros((len(codes), 1))


def _posterior(
    seen: Floats, targets: Floats, weights: Floats, pending: Floats, asked: Floats
) -> tuple[Floats, ...]:
    """Mean and standard deviation of one output, each of shape (candidates,).

    What is pending is believed to come out as expected, so that nothing is left to be learnt there:
    the kriging believer of Ginsbourger, Le Riche and Carraro, "Kriging Is Well-Suited to
    Parallelize Optimization" (2010).
    """
    known = np.isfinite(targets) & (weights > 0)
    if not known.any():
        return np.zeros(len(asked)), np.ones(len(asked))
    places, values = seen[known], targets[known]
    doubt = _HALF * (1 / weights[known] - 1)
    process = _fitted(places, values, doubt)
    if len(pending):
        places = np.concatenate([places, pending])
        values = np.concatenate([values, process.predict(pending)])
        doubt = np.concatenate([doubt, np.zeros(len(pending))])
        process = _process(process.kernel_, places, values, doubt)
    chunks = [asked[i : i + _CHUNK] for i in range(0, len(asked), _CHUNK)]
    parts = [process.predict(chunk, return_std=True) for chunk in chunks]
    return tuple(np.concatenate(each) for each in zip(*parts, strict=True))


def _process(kernel: Any, places: Floats, targets: Floats, doubt: Floats) -> Any:
    """A process of given scales; `doubt` is each target's variance beyond the noise."""
    from sklearn.gaussian_process import GaussianProcessRegressor

    made = GaussianProcessRegressor(kernel, alpha=doubt + _LEAST_DOUBT, optimizer=None)
    return made.fit(places, targets)


def _fitted(places: Floats, targets: Floats, doubt: Floats) -> Any:
    """A process of the likeliest scales."""
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    lengths = np.full(places.shape[1], _FIRST_LENGTH)
    kernel = ConstantKernel(1.0, _SPREAD) * Matern(lengths, _LENGTHS, nu=2.5)
    kernel += WhiteKernel(_FIRST_NOISE, _NOISE)

    first = _process(kernel, places, targets, doubt)

    def unlikely(scales: Floats) -> tuple[float, Floats]:
        value, slope = first.log_marginal_likelihood(scales, True, clone_kernel=False)
        return -value, -slope

    # By itself, as scikit-learn's own fit warns of each scale that ends at a bound.
    found = minimize(
        unlikely,
        kernel.theta,
        method="L-BFGS-B",
        jac=True,
        bounds=kernel.bounds,
        options={"maxiter": _STEPS},
    )
    return _process(kernel.clone_with_theta(found.x), places, targets, doubt)
