"""convminer's networks in PyTorch, from the shapes that `convminer bench train` reports.

As one would write them for speed: one matrix product where there can be one, and fused operations
where PyTorch has them.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# How much faster than weights the gates learn.
GATE_SPEED = 20.0


def network(shape: dict[str, Any], inputs: Tensor) -> nn.Module:
    """A network of this shape; the bins of an encoding lie where those inputs lie."""
    kinds = {"mlp": Mlp, "residual": Residual, "tabular": Tabular, "mixture": Mixture}
    return kinds[shape["architecture"]](shape, inputs)


class Mlp(nn.Module):
    """The guide's."""

    def __init__(self, shape: dict[str, Any], _inputs: Tensor) -> None:
        super().__init__()
        first, second = shape["first_units"], shape["second_units"]
        self.layers = nn.Sequential(
            nn.Linear(shape["inputs"], first),
            nn.BatchNorm1d(first),
            nn.ReLU(inplace=True),
            nn.Dropout(shape["dropout"]),
            nn.Linear(first, second),
            nn.ReLU(inplace=True),
            nn.Linear(second, shape["outputs"]),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """`[batch, inputs]` to `[1, batch]`."""
        return self.layers(inputs)[:, 0].unsqueeze(0)


class Residual(nn.Module):
    """Blocks that each add something to what came in."""

    def __init__(self, shape: dict[str, Any], _inputs: Tensor) -> None:
        super().__init__()
        units, inner = shape["units"], shape["inner_units"]
        self.first = nn.Linear(shape["inputs"], units)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm1d(units),
                nn.Linear(units, inner),
                nn.ReLU(inplace=True),
                nn.Dropout(shape["dropout"]),
                nn.Linear(inner, units),
            )
            for _ in range(shape["blocks"])
        )
        self.last = nn.Sequential(
            nn.BatchNorm1d(units), nn.ReLU(inplace=True), nn.Linear(units, shape["outputs"])
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """`[batch, inputs]` to `[1, batch]`."""
        hidden = self.first(inputs)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.last(hidden)[:, 0].unsqueeze(0)


class GatedInputs(nn.Module):
    """Inputs and their piecewise-linear encoding, each times its gate."""

    def __init__(self, shape: dict[str, Any], inputs: Tensor) -> None:
        super().__init__()
        self.gates = nn.Parameter(torch.full((shape["inputs"],), 1.0 / GATE_SPEED))
        bins = shape["bins"]
        # As many as convminer has, shared out evenly: what they cost does not depend on where.
        columns = torch.arange(bins) * shape["inputs"] // max(bins, 1)
        rows = torch.randint(len(inputs), (bins,))
        self.register_buffer("columns", columns)
        self.register_buffer("lower", inputs[rows, columns].clone())
        self.register_buffer("inverse_width", torch.full((bins,), 2.0))

    def forward(self, inputs: Tensor) -> Tensor:
        """`[batch, inputs]` to `[batch, inputs + bins]`."""
        gates = self.gates * GATE_SPEED
        plain = inputs * gates
        if not len(self.columns):
            return plain
        above = (inputs.index_select(1, self.columns) - self.lower) * self.inverse_width
        encoded = (above.clamp(0.0, 1.0) - 0.5) * gates.index_select(0, self.columns)
        return torch.cat([plain, encoded], 1)


class Tabular(nn.Module):
    """Gates, encoding, and several small networks side by side."""

    def __init__(self, shape: dict[str, Any], inputs: Tensor) -> None:
        super().__init__()
        self.inputs = GatedInputs(shape, inputs)
        self.packed, self.units = shape["packed"], shape["units"]
        width = shape["inputs"] + shape["bins"]
        # All packed networks have the same inputs: one product.
        self.first = nn.Linear(width, self.packed * self.units)
        hidden = shape["layers"] - 1
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(self.packed, self.units, self.units) * self.units**-0.5)
            for _ in range(hidden)
        )
        self.biases = nn.ParameterList(
            nn.Parameter(torch.zeros(self.packed, 1, self.units)) for _ in range(hidden)
        )
        self.bends = nn.ParameterList(
            nn.Parameter(torch.ones(self.packed, 1, self.units)) for _ in range(hidden + 1)
        )
        self.last_weight = nn.Parameter(torch.randn(self.packed, self.units, 1) * 0.03)
        self.last_bias = nn.Parameter(torch.zeros(self.packed, 1, 1))
        self.dropout = nn.Dropout(shape["dropout"])

    def forward(self, inputs: Tensor) -> Tensor:
        """`[batch, inputs]` to `[packed, batch]`."""
        hidden = self.first(self.inputs(inputs))
        hidden = hidden.view(len(inputs), self.packed, self.units).transpose(0, 1)
        hidden = self.bent(hidden, 0)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True), 1):
            hidden = self.bent(torch.baddbmm(bias, hidden, weight), layer)
        return torch.baddbmm(self.last_bias, hidden, self.last_weight).squeeze(2)

    def bent(self, straight: Tensor, layer: int) -> Tensor:
        """The activation: `a relu(x) + (1 - a) x`."""
        return self.dropout(torch.lerp(straight, functional.relu(straight), self.bends[layer]))


class Mixture(nn.Module):
    """Gates, encoding, and mixtures of regions side by side."""

    def __init__(self, shape: dict[str, Any], inputs: Tensor) -> None:
        super().__init__()
        self.inputs = GatedInputs(shape, inputs)
        self.packed, self.components = shape["packed"], shape["components"]
        width = shape["inputs"] + shape["bins"]
        self.scores = nn.Linear(width, self.packed * self.components)
        self.said = nn.Parameter(2.0 * torch.randn(self.packed, self.components, 1))
        self.dropout = nn.Dropout(shape["dropout"])

    def forward(self, inputs: Tensor) -> Tensor:
        """`[batch, inputs]` to `[packed, batch]`: the logits of the mixed probabilities."""
        scores = self.scores(self.dropout(self.inputs(inputs)))
        scores = scores.view(len(inputs), self.packed, self.components)
        shares = functional.softmax(scores, 2).transpose(0, 1)
        both = torch.sigmoid(torch.cat([self.said, -self.said], 2))
        yes, no = torch.bmm(shares, both).log().unbind(2)
        return yes - no


def loss_of(stage: str, said: Tensor, converted: Tensor, times: Tensor) -> Tensor:
    """What convminer's networks minimise: the mean over a batch, as if each were alone."""
    packed = len(said)
    if stage == "classifier":
        labels = converted.expand_as(said)
        return packed * functional.binary_cross_entropy_with_logits(said, labels)
    return packed * functional.l1_loss(functional.softplus(said), times.expand_as(said))
