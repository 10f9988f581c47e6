"""Fit the members of the learned model on pooled rows of inputs and standardised returns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import GammaRegressor
from threadpoolctl import threadpool_limits

from models.forecaster import TAUS
from models.inputs import MIRROR_SIGNS
from models.members import (
    LARGEST_LOG_MULTIPLIER,
    LARGEST_LOG_SKEW,
    BoostedTrees,
    Layer,
    LogLinear,
    Network,
    Shape,
    Tree,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]
    Heard = Callable[[str], None]

POWER = 1.5
"""Regressing |z|^1.5 with a log link weighs the tail more than log |z| does and less than z^2."""

PENALTY = 0.03
SMALLEST_INPUT_SD = 0.25
"""An input that is nearly constant in training must not explode on another asset."""

SMALLEST_RESIDUAL = 1e-3
DIGITS = 7

WIDTH = 24
BATCH = 2_048
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.05
DROPOUT = 0.1
EPOCHS = 15
SMALLEST_STEPS = 600
"""Gradient steps; few rows are gone through in more epochs."""

PATIENCE = 0.4
"""Share of the epochs without a better validation loss before training stops."""

SHAPE_WEIGHT = 0.1
"""Of the tail's losses beside that of the scale. Their breaches are few: scales that learned from them as well were
4 % worse on days."""

ES_WEIGHT = 0.15
TREES = 150
LEAVES = 8
SMALLEST_LEAF = 400
TREE_RATE = 0.04

torch.set_num_threads(1)  # the order of a sum, and with it the last bits of a model, depends on it


@dataclass(frozen=True, slots=True)
class Rows:
    """Training rows of one horizon: `inputs` (n, inputs), `z` (n) return over base sd, `end` (n) Unix seconds."""

    inputs: Array
    z: Array
    end: Array

    def mirrored(self) -> Rows:
        """Return the rows together with their mirror images, in which every return has the other sign."""
        return self.pooled_with(Rows(self.inputs * np.array(MIRROR_SIGNS), -self.z, self.end))

    def pooled_with(self, *others: Rows) -> Rows:
        """Return these rows and then the others'."""
        parts = (self, *others)
        return Rows(
            np.vstack([rows.inputs for rows in parts]),
            np.concatenate([rows.z for rows in parts]),
            np.concatenate([rows.end for rows in parts]),
        )

    def where(self, chosen: npt.NDArray[np.bool_]) -> Rows:
        """Return the chosen rows."""
        return Rows(self.inputs[chosen], self.z[chosen], self.end[chosen])


def figures(values: Iterable[float] | Array) -> tuple[float, ...]:
    """Round to significant digits, so that the last bits of a linear-algebra library are not in a hash."""
    return tuple(float(f"{value:.{DIGITS}g}") for value in values)


def shape_of(standardised: Array) -> Shape:
    """Return the empirical tail. Raises ValueError unless 0 lies between the 1 % and 99 % quantiles."""
    quantiles = np.quantile(standardised, TAUS)
    lower, upper = quantiles[2], quantiles[3]
    if not lower < 0 < upper:
        raise ValueError("the 1 % and 99 % returns do not lie on either side of 0")
    beyond = standardised[standardised <= lower].mean(), standardised[standardised >= upper].mean()
    return Shape(figures(quantiles), *figures(beyond))


# Of scikit-learn's sums as well; the decorator has no types.
@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def fit_log_linear(rows: Rows, *, daily_bars: bool, horizon: int) -> LogLinear:
    """Fit the scale by a gamma regression of |z|^1.5 with a log link."""
    means, sds = _centre(rows.inputs)
    regression = GammaRegressor(alpha=PENALTY, max_iter=2_000, tol=1e-7)
    regression.fit((rows.inputs - means) / sds, _size(rows.z))
    weights = regression.coef_ / POWER
    scale = np.exp(np.clip((rows.inputs - means) / sds @ weights, -LARGEST_LOG_MULTIPLIER, LARGEST_LOG_MULTIPLIER))
    shape = shape_of(rows.z / scale)
    return LogLinear(daily_bars, (horizon,), figures(means), figures(sds), figures(weights), shape)


@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]  # likewise
def fit_trees(rows: Rows, *, daily_bars: bool, horizon: int, seed: int) -> BoostedTrees:
    """Fit the scale by gradient boosting with gamma loss and a log link."""
    size = _size(rows.z)
    boosting = HistGradientBoostingRegressor(
        loss="gamma",
        max_iter=TREES,
        learning_rate=TREE_RATE,
        max_leaf_nodes=LEAVES,
        min_samples_leaf=min(SMALLEST_LEAF, max(20, len(size) // 40)),
        l2_regularization=5.0,
        early_stopping=False,
        random_state=seed,
    )
    boosting.fit(rows.inputs, size)
    # scikit-learn has no public way to read its trees.
    trees = tuple(_tree(stage[0].nodes) for stage in boosting._predictors)  # noqa: SLF001
    log = np.log(boosting.predict(rows.inputs) / size.mean()) / POWER
    shape = shape_of(rows.z / np.exp(np.clip(log, -LARGEST_LOG_MULTIPLIER, LARGEST_LOG_MULTIPLIER)))
    return BoostedTrees(daily_bars, (horizon,), trees, shape)


def _tree(nodes: Any) -> Tree:
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        feature=tuple(int(v) for v in np.where(leaf, -1, nodes["feature_idx"])),
        threshold=figures(np.where(leaf, 0.0, nodes["num_threshold"])),
        left=tuple(int(v) for v in nodes["left"]),
        right=tuple(int(v) for v in nodes["right"]),
        value=figures(np.where(leaf, nodes["value"] / POWER, 0.0)),
    )


def fit_network(
    by_horizon: Mapping[int, Rows], *, daily_bars: bool, serves: Sequence[int], seed: int, heard: Heard
) -> Network:
    """Fit one network on all horizons together, stopping early on the newest tenth of time.

    The scale learns by the gamma deviance of |z|^1.5. Skews and shapes learn by the pinball loss of every level over
    its usual size, plus a share of the FZ0 score of the expected shortfalls (Fissler and Ziegel 2016; Patton, Ziegel
    and Chen 2019). `heard` gets a line an epoch.
    """
    torch.manual_seed(seed)
    horizons = tuple(by_horizon)
    means, sds = _centre(np.vstack([rows.inputs for rows in by_horizon.values()]))
    batches = _Batches([rows.mirrored() for rows in by_horizon.values()], means, sds)
    module = _Module(batches.train[0].shape[1], [shape_of(rows.mirrored().z) for rows in by_horizon.values()])
    _descend(module, batches, heard)
    module.ignore(np.vstack([rows.inputs for rows in by_horizon.values()]).std(axis=0) == 0.0)
    return module.frozen(daily_bars, tuple(serves), horizons, figures(means), figures(sds))


class _Batches:
    """Tensors of the training and validation rows: inputs with a one-hot horizon, z, its size, weight of each level."""

    def __init__(self, parts: Sequence[Rows], means: Array, sds: Array) -> None:
        train, late = [], []
        for place, rows in enumerate(parts):
            told = np.zeros((len(rows.z), len(parts)))
            told[:, place] = 1.0
            usual = np.array(shape_of(rows.z).quantiles)
            weight = np.tile(1.0 / _pinball(rows.z[:, None] - usual).mean(axis=0) / len(TAUS), (len(rows.z), 1))
            size = _size(rows.z)
            tensors = [
                torch.tensor(values, dtype=torch.float32)
                for values in (np.hstack([(rows.inputs - means) / sds, told]), rows.z, size / size.mean(), weight)
            ]
            newest = torch.tensor(rows.end > np.quantile(rows.end, 0.9))
            train.append([tensor[~newest] for tensor in tensors])
            late.append([tensor[newest] for tensor in tensors])
        self.train = [torch.cat(column) for column in zip(*train, strict=True)]
        self.late = [torch.cat(column) for column in zip(*late, strict=True)]


class _Module(torch.nn.Module):
    """The trainable twin of `Network`."""

    def __init__(self, inputs: int, shapes: Sequence[Shape]) -> None:
        super().__init__()
        self.hidden = torch.nn.ModuleList([torch.nn.Linear(inputs, WIDTH), torch.nn.Linear(WIDTH, WIDTH)])
        self.last = torch.nn.Linear(WIDTH, 3)
        self.dropout = torch.nn.Dropout(DROPOUT)
        torch.nn.init.zeros_(self.last.weight)
        torch.nn.init.zeros_(self.last.bias)
        gaps = torch.tensor([_gaps(shape) for shape in shapes], dtype=torch.float32)
        self.gaps = torch.nn.Parameter(torch.log(torch.expm1(gaps)))

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return log-scales (n), quantiles (n, levels) and shortfalls (n, 2); only the first moves the scale."""
        values = inputs
        for layer in self.hidden:
            values = torch.nn.functional.silu(layer(values))
        out = self.last(self.dropout(values))
        log = LARGEST_LOG_MULTIPLIER * torch.tanh(out[:, 0] / LARGEST_LOG_MULTIPLIER)
        lower = torch.exp(log.detach() + LARGEST_LOG_SKEW * torch.tanh(out[:, 1]))[:, None]
        upper = torch.exp(log.detach() + LARGEST_LOG_SKEW * torch.tanh(out[:, 2]))[:, None]
        gaps = inputs[:, -len(self.gaps) :] @ torch.nn.functional.softplus(self.gaps)
        below, above = torch.cumsum(gaps[:, :3], 1), torch.cumsum(gaps[:, 3:6], 1)
        quantiles = torch.cat([-lower * below.flip(1), upper * above], 1)
        beyond = [-lower * (below[:, :1] + gaps[:, 6:7]), upper * (above[:, :1] + gaps[:, 7:8])]
        return log, quantiles, torch.cat(beyond, 1)

    def ignore(self, constant: npt.NDArray[np.bool_]) -> None:
        """Cut off the inputs that were constant in training: what was never seen to matter must not."""
        with torch.no_grad():
            self.hidden[0].get_parameter("weight")[:, np.flatnonzero(constant)] = 0.0

    def frozen(
        self,
        daily_bars: bool,  # noqa: FBT001 (positional beside the four it is stored with)
        serves: tuple[int, ...],
        horizons: tuple[int, ...],
        means: tuple[float, ...],
        sds: tuple[float, ...],
    ) -> Network:
        """Return the network that forecasts, without torch."""
        layers = tuple(
            Layer(tuple(figures(row) for row in layer.weight.tolist()), figures(layer.bias.tolist()))
            for layer in (*self.hidden, self.last)
        )
        shapes = tuple(_shape(gaps) for gaps in torch.nn.functional.softplus(self.gaps).tolist())
        return Network(daily_bars, serves, horizons, means, sds, layers, shapes)


def _gaps(shape: Shape) -> list[float]:
    """Return the distances that make a shape: three levels down, three up, and to each expected shortfall."""
    lowest, low, lower, upper, high, highest = shape.quantiles
    gaps = [-lower, lower - low, low - lowest, upper, high - upper, highest - high]
    return [max(gap, 1e-3) for gap in (*gaps, lower - shape.es_lower, shape.es_upper - upper)]


def _shape(gaps: Sequence[float]) -> Shape:
    below, above = np.cumsum(gaps[:3]), np.cumsum(gaps[3:6])
    beyond = figures([-(below[0] + gaps[6]), above[0] + gaps[7]])
    return Shape(figures([*-below[::-1], *above]), *beyond)


def _descend(module: _Module, batches: _Batches, heard: Heard) -> None:
    decayed = [value for name, value in module.named_parameters() if name.endswith("weight")]
    others = [value for name, value in module.named_parameters() if not name.endswith("weight")]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}], lr=LEARNING_RATE
    )
    count = len(batches.train[1])
    batches_an_epoch = math.ceil(count / BATCH)
    epochs = max(EPOCHS, math.ceil(SMALLEST_STEPS / batches_an_epoch))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=epochs * batches_an_epoch, pct_start=0.15
    )
    best, best_epoch, kept = math.inf, 0, module.state_dict()
    for epoch in range(1, epochs + 1):
        module.train()
        for chosen in torch.split(torch.randperm(count), BATCH):
            loss = _loss(module, *(tensor[chosen] for tensor in batches.train))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimiser.step()
            schedule.step()
        module.eval()
        with torch.no_grad():
            late = float(_loss(module, *batches.late))
        heard(f"epoch {epoch} of at most {epochs}: validation loss {late:.4f}")
        if late < best:
            best, best_epoch = late, epoch
            kept = {name: value.clone() for name, value in module.state_dict().items()}
        elif epoch - best_epoch >= PATIENCE * epochs:
            break
    module.load_state_dict(kept)


def _loss(
    module: _Module, inputs: torch.Tensor, z: torch.Tensor, size: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    log, quantiles, beyond = module(inputs)
    taus = torch.tensor(TAUS)
    gap = z[:, None] - quantiles
    tail = (torch.maximum(taus * gap, (taus - 1.0) * gap) * weight).sum(1)
    for value, level, mean in ((z, quantiles[:, 2], beyond[:, 0]), (-z, -quantiles[:, 3], -beyond[:, 1])):
        # The quantile is scored by the pinball loss alone.
        fixed = level.detach()
        excess = torch.relu(fixed - value)
        tail = tail + ES_WEIGHT * (excess / (-TAUS[2] * mean) + fixed / mean + torch.log(-mean) - 1.0)
    loss: torch.Tensor = (POWER * log + size * torch.exp(-POWER * log) + SHAPE_WEIGHT * tail).mean()
    return loss


def _pinball(gap: Array) -> Array:
    taus = np.array(TAUS)
    return np.maximum(taus * gap, (taus - 1.0) * gap)


def _centre(inputs: Array) -> tuple[Array, Array]:
    return inputs.mean(axis=0), np.maximum(inputs.std(axis=0), SMALLEST_INPUT_SD)


def _size(z: Array) -> Array:
    return np.maximum(np.abs(z), SMALLEST_RESIDUAL) ** POWER
