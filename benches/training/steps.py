"""Steps of training in PyTorch, in the ways that are known to be fast."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .networks import loss_of, network

# How steps are run. Graphs are of CUDA.
MODES = ("eager", "compile", "graphs", "compile and graphs")
# Steps before a graph is captured.
WARM_UP_STEPS = 5


class Steps:
    """One network in training at one batch size."""

    def __init__(
        self, spec: dict[str, Any], rows: dict[str, Tensor], batch_size: int, mode: str
    ) -> None:
        self.stage = spec["stage"]
        self.settings = spec["settings"]
        chosen = rows
        if self.stage == "regressor":
            which = rows["converted"].nonzero().squeeze(1)
            chosen = {name: values.index_select(0, which) for name, values in rows.items()}
        self.inputs, self.converted, self.times = (
            chosen[name] for name in ("inputs", "converted", "times")
        )
        self.rows = len(self.inputs)
        self.batch_size = min(batch_size, self.rows)
        self.device = self.inputs.device
        self.network = network(spec["network"], rows["inputs"].cpu()).to(self.device).train()
        self.rate = self.settings["learning_rate"] / 2
        self.optimizer = self._optimizer(capturable="graphs" in mode)
        self.gates = [value for name, value in self.network.named_parameters() if "gates" in name]
        self.order = torch.arange(self.rows, device=self.device)
        self.next = self.rows
        self.losses = torch.zeros((), device=self.device)
        self.loss = self._loss
        if "compile" in mode:
            self.loss = torch.compile(self._loss)
        self.step: Callable[[Tensor], None] = self._step
        if "graphs" in mode:
            self.step = self._captured()

    def _optimizer(self, capturable: bool) -> torch.optim.Optimizer:
        """AdamW; the decay is for the weights of layers only."""

        def decays(name: str, values: nn.Parameter) -> bool:
            return values.dim() > 1 and not any(part in name for part in ("bias", "bend", "said"))

        named = list(self.network.named_parameters())
        groups = [
            {
                "params": [values for name, values in named if decays(name, values)],
                "weight_decay": self.settings["weight_decay"],
            },
            {
                "params": [values for name, values in named if not decays(name, values)],
                "weight_decay": 0.0,
            },
        ]
        return torch.optim.AdamW(groups, lr=self.rate, eps=1e-8, fused=True, capturable=capturable)

    def _loss(self, inputs: Tensor, converted: Tensor, times: Tensor) -> Tensor:
        return loss_of(self.stage, self.network(inputs), converted, times)

    def _step(self, index: Tensor) -> None:
        loss = self.loss(
            self.inputs.index_select(0, index),
            self.converted.index_select(0, index),
            self.times.index_select(0, index),
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip = self.settings["gradient_clip"]
        if clip > 0:
            nn.utils.clip_grad_norm_(self.network.parameters(), clip)
        self.optimizer.step()
        penalty = self.settings["gate_penalty"]
        if penalty > 0:
            # A proximal step: what is near zero becomes zero.
            with torch.no_grad():
                for gates in self.gates:
                    gates.copy_(functional.softshrink(gates, self.rate * penalty))
        self.losses += loss.detach()

    def _captured(self) -> Callable[[Tensor], None]:
        """A step that is sent to the GPU as a whole."""
        static = torch.arange(self.batch_size, device=self.device)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_STEPS):
                self._step(static)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # The gradients' memory must be the graph's own.
        self.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            self._step(static)

        def step(index: Tensor) -> None:
            static.copy_(index)
            graph.replay()

        return step

    def run(self, steps: int) -> None:
        """Takes so many steps, in a new order of rows each pass, and waits until they are done."""
        for _ in range(steps):
            if self.next + self.batch_size > self.rows:
                self.order = torch.randperm(self.rows, device=self.device)
                self.next = 0
            self.step(self.order[self.next : self.next + self.batch_size])
            self.next += self.batch_size
        self.losses.item()
        self.losses.zero_()
