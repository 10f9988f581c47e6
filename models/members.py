"""Forecast a standardised tail from one stream's inputs: the frozen members of the learned model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import mul
from typing import TYPE_CHECKING, Protocol

from models.forecaster import Tail

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LARGEST_LOG_MULTIPLIER = 1.2
"""A member may make the scale e^+-1.2 of the base sd."""

LARGEST_LOG_SKEW = 0.2
"""A network may make one side's scale e^+-0.2 of the common one."""


class Member(Protocol):
    """One frozen model. `serves` are the horizons it answers, `daily_bars` the kind of stream it was trained on."""

    @property
    def daily_bars(self) -> bool:
        """Whether it was trained on daily bars."""
        ...

    @property
    def serves(self) -> tuple[int, ...]:
        """Horizons in seconds."""
        ...

    @property
    def weight(self) -> float:
        """Its vote in the mean, above 0."""
        ...

    def tail(self, vector: Sequence[float], horizon: int, trust: float) -> Tail:
        """Return the tail of the return over the base sd; `trust` (0 to 1) shrinks what the inputs say."""
        ...


@dataclass(frozen=True, slots=True)
class Shape:
    """Quantiles at TAUS and expected shortfalls of returns over the forecast scale; one side below 0, one above."""

    quantiles: tuple[float, ...]
    es_lower: float
    es_upper: float

    def scaled(self, lower: float, upper: float) -> Tail:
        """Return the tail with each side times its own factor (above 0)."""
        return Tail(
            tuple(value * (lower if value < 0 else upper) for value in self.quantiles),
            es_lower=self.es_lower * lower,
            es_upper=self.es_upper * upper,
        )


@dataclass(frozen=True, slots=True)
class LogLinear:
    """The scale is e^(weights x standardised inputs), the shape is frozen."""

    daily_bars: bool
    serves: tuple[int, ...]
    means: tuple[float, ...]
    sds: tuple[float, ...]
    weights: tuple[float, ...]
    shape: Shape
    weight: float = 1.0

    def tail(self, vector: Sequence[float], horizon: int, trust: float) -> Tail:  # noqa: ARG002 (one horizon each)
        """Return the frozen shape times the scale."""
        if trust == 0.0:
            return self.shape.scaled(1.0, 1.0)
        log = math.fsum(map(mul, self.weights, _standardised(vector, self.means, self.sds)))
        scale = math.exp(trust * _within(log, LARGEST_LOG_MULTIPLIER))
        return self.shape.scaled(scale, scale)


@dataclass(frozen=True, slots=True)
class Tree:
    """A regression tree as parallel tuples by node; `feature` is -1 at a leaf, whose `value` counts."""

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    value: tuple[float, ...]

    def leaf(self, vector: Sequence[float]) -> float:
        """Return the value of the leaf that the vector falls into."""
        node = 0
        while (feature := self.feature[node]) >= 0:
            node = self.left[node] if vector[feature] <= self.threshold[node] else self.right[node]
        return self.value[node]


@dataclass(frozen=True, slots=True)
class BoostedTrees:
    """The log-scale is the sum of the trees' leaves, the shape is frozen."""

    daily_bars: bool
    serves: tuple[int, ...]
    trees: tuple[Tree, ...]
    shape: Shape
    weight: float = 1.0

    def tail(self, vector: Sequence[float], horizon: int, trust: float) -> Tail:  # noqa: ARG002 (one horizon each)
        """Return the frozen shape times the scale."""
        if trust == 0.0:
            return self.shape.scaled(1.0, 1.0)
        log = math.fsum(tree.leaf(vector) for tree in self.trees)
        scale = math.exp(trust * _within(log, LARGEST_LOG_MULTIPLIER))
        return self.shape.scaled(scale, scale)


@dataclass(frozen=True, slots=True)
class Layer:
    """A dense layer: `weights[j]` are output j's weights of the inputs."""

    weights: tuple[tuple[float, ...], ...]
    biases: tuple[float, ...]

    def outputs(self, inputs: Sequence[float]) -> list[float]:
        """Return weights x inputs + biases."""
        return [bias + math.fsum(map(mul, row, inputs)) for row, bias in zip(self.weights, self.biases, strict=True)]


@dataclass(frozen=True, slots=True)
class Network:
    """A small perceptron: a common log-scale and a log-skew a side, times a monotone frozen shape a horizon.

    It was trained on all of `horizons` at once, told which by one input each, and answers those it `serves`.
    The last layer has three outputs: log-scale, lower skew, upper skew, each squashed by tanh into its bound.
    """

    daily_bars: bool
    serves: tuple[int, ...]
    horizons: tuple[int, ...]
    means: tuple[float, ...]
    sds: tuple[float, ...]
    layers: tuple[Layer, ...]
    shapes: tuple[Shape, ...]
    weight: float = 1.0

    def tail(self, vector: Sequence[float], horizon: int, trust: float) -> Tail:
        """Return the horizon's shape times what the network says of each side."""
        place = self.horizons.index(horizon)
        if trust == 0.0:
            return self.shapes[place].scaled(1.0, 1.0)
        told = [float(place == other) for other in range(len(self.horizons))]
        values = [*_standardised(vector, self.means, self.sds), *told]
        for layer in self.layers[:-1]:
            values = [_silu(value) for value in layer.outputs(values)]
        scale, lower, upper = self.layers[-1].outputs(values)
        log = LARGEST_LOG_MULTIPLIER * math.tanh(scale / LARGEST_LOG_MULTIPLIER)
        return self.shapes[place].scaled(
            math.exp(trust * (log + LARGEST_LOG_SKEW * math.tanh(lower))),
            math.exp(trust * (log + LARGEST_LOG_SKEW * math.tanh(upper))),
        )


def geometric_mean(tails: Sequence[Tail], weights: Sequence[float]) -> Tail:
    """Return the weighted mean of tails in log space, figure by figure: monotone because each of them is."""
    total = math.fsum(weights)
    shares = [weight / total for weight in weights]
    return Tail(
        tuple(_mean(figures, shares) for figures in zip(*(tail.quantiles for tail in tails), strict=True)),
        es_lower=_mean([tail.es_lower for tail in tails], shares),
        es_upper=_mean([tail.es_upper for tail in tails], shares),
    )


def choose_members(members: Iterable[Member], bar_seconds: int, horizon: int) -> tuple[tuple[Member, int, float], ...]:
    """Return (member, horizon to ask it for, trust) of all members fit to forecast a horizon of such a stream.

    Members trained on the same kind of bars at the nearest horizon answer with full trust. Without any, the
    others lend their shape only (trust 0): what inputs mean on days does not carry over to hours.
    """
    daily = bar_seconds == 86_400
    ranked = [
        ((member.daily_bars != daily, abs(math.log(served / horizon)), served), member, served)
        for member in members
        for served in member.serves
    ]
    best = min(rank for rank, _, _ in ranked)
    return tuple((member, served, float(not best[0])) for rank, member, served in ranked if rank == best)


def _standardised(vector: Sequence[float], means: Sequence[float], sds: Sequence[float]) -> list[float]:
    return [(value - mean) / sd for value, mean, sd in zip(vector, means, sds, strict=True)]


def _within(value: float, bound: float) -> float:
    return min(max(value, -bound), bound)


def _silu(value: float) -> float:
    return value / (1.0 + math.exp(-value)) if value > -500.0 else 0.0


def _mean(figures: Sequence[float], shares: Sequence[float]) -> float:
    log = math.fsum(share * math.log(abs(figure)) for figure, share in zip(figures, shares, strict=True))
    return math.copysign(math.exp(log), figures[0])
