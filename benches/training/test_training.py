"""Tests of what the table rests on. Run by

PYTHONPATH=benches python -m unittest training.test_training
"""

import argparse
import os
import sys
import unittest
import unittest.mock

import torch

from streaming import child

from . import __main__ as command
from .networks import loss_of, network
from .steps import Steps

SETTINGS = {"learning_rate": 0.02, "weight_decay": 0.5, "gate_penalty": 0.1, "gradient_clip": 0.0}
SHAPES = {
    "mlp": {"inputs": 6, "outputs": 1, "first_units": 8, "second_units": 4, "dropout": 0.3},
    "residual": {
        "inputs": 6,
        "outputs": 1,
        "units": 8,
        "inner_units": 5,
        "blocks": 2,
        "dropout": 0.2,
    },
    "tabular": {
        "inputs": 6,
        "outputs": 1,
        "bins": 9,
        "packed": 2,
        "units": 8,
        "layers": 3,
        "dropout": 0.1,
    },
    "mixture": {
        "inputs": 6,
        "outputs": 1,
        "bins": 9,
        "packed": 3,
        "components": 4,
        "dropout": 0.0,
    },
}


def rows(count: int) -> dict[str, torch.Tensor]:
    """Those that converted have a large first input; their times follow the second one."""
    torch.manual_seed(1)
    inputs = torch.randn(count, 6)
    return {
        "inputs": inputs,
        "converted": (inputs[:, 0] > 0).float(),
        "times": 1.0 + 0.2 * inputs[:, 1],
    }


class Networks(unittest.TestCase):
    """The same networks as convminer's."""

    def test_numbers_that_are_learned(self) -> None:
        """As `src/train/throughput/cost.rs` counts them."""
        layers = {
            "mlp": (6 * 8 + 8) + 2 * 8 + (8 * 4 + 4) + (4 + 1),
            "residual": (6 * 8 + 8) + 2 * (2 * 8 + (8 * 5 + 5) + (5 * 8 + 8)) + 2 * 8 + (8 + 1),
            "tabular": 6 + 2 * ((15 * 8 + 8) + 2 * (8 * 8 + 8) + 3 * 8 + (8 + 1)),
            "mixture": 6 + 3 * ((15 * 4 + 4) + 4),
        }
        for name, expected in layers.items():
            model = network(SHAPES[name] | {"architecture": name}, rows(20)["inputs"])
            found = sum(values.numel() for values in model.parameters())
            self.assertEqual(found, expected, name)

    def test_a_mixture_is_the_logit_of_the_mixed_probability(self) -> None:
        """By the formula, without logarithms of sums."""
        inputs = rows(20)["inputs"]
        model = network(SHAPES["mixture"] | {"architecture": "mixture"}, inputs)
        scores = model.scores(model.inputs(inputs)).view(20, 3, 4)
        probability = (torch.softmax(scores, 2) * torch.sigmoid(model.said.squeeze(2))).sum(2)
        torch.testing.assert_close(model(inputs), torch.logit(probability).T)

    def test_losses_are_of_all_packed_networks(self) -> None:
        """Two of them that say the same: twice the loss of one."""
        said, converted = torch.tensor([[2.0, -1.0]]), torch.tensor([1.0, 0.0])
        times = torch.tensor([1.5, 0.5])
        for stage in ("classifier", "regressor"):
            one = loss_of(stage, said, converted, times)
            both = loss_of(stage, said.expand(2, 2), converted, times)
            torch.testing.assert_close(both, 2 * one)

    def test_steps_learn(self) -> None:
        """Each network, and a regressor of what converted."""
        for name, shape in SHAPES.items():
            for stage in ("classifier", "regressor"):
                spec = {
                    "stage": stage,
                    "settings": SETTINGS | {"gradient_clip": 1.0},
                    "network": shape | {"architecture": name},
                }
                steps = Steps(spec, rows(256), 32, "eager")
                self.assertEqual(steps.rows == 256, stage == "classifier")
                before = self.loss(steps)
                steps.run(60)
                self.assertLess(self.loss(steps), 0.8 * before, f"{name}, {stage}")

    def loss(self, steps: Steps) -> float:
        """Of all rows."""
        with torch.no_grad():
            return steps.loss(steps.inputs, steps.converted, steps.times).item()

    def test_gates_close(self) -> None:
        """A penalty larger than what the loss asks for."""
        spec = {
            "stage": "classifier",
            "settings": SETTINGS | {"gate_penalty": 20.0},
            "network": SHAPES["tabular"] | {"architecture": "tabular"},
        }
        steps = Steps(spec, rows(64), 32, "eager")
        steps.run(2)
        self.assertEqual(steps.gates[0].abs().max().item(), 0.0)


class Command(unittest.TestCase):
    """Options, and where processes run."""

    def test_devices_are_named_as_convminer_does(self) -> None:
        """Or `--gpu=wgpu` would be none that it lists."""
        named = [{"device": ["cpu"]}, {"device": ["wgpu:0", "vulkan:0"]}, {"device": ["wgpu:1"]}]
        named = [each | {"type": "GPU", "fault": None, "name": "", "driver": ""} for each in named]
        for name, expected in [("wgpu", "wgpu:0"), ("vulkan", "vulkan:0"), ("wgpu:1", "wgpu:1")]:
            arguments = argparse.Namespace(binary=None, gpu=command.device_name(name))
            with unittest.mock.patch.object(command.turns, "devices", return_value=named):
                self.assertEqual(command.find_gpu(arguments), (expected, "", ""))

    def test_children_have_so_many_cores(self) -> None:
        """And all of them again afterwards, whatever comes."""
        before = os.sched_getaffinity(0)
        code = "import os; print(len(os.sched_getaffinity(0)))"
        with self.assertRaises(RuntimeError), command.on_cores(1):
            self.assertEqual(child.run([sys.executable, "-c", code], 1 << 30).output, "1\n")
            raise RuntimeError
        self.assertEqual(os.sched_getaffinity(0), before)


if __name__ == "__main__":
    unittest.main()
