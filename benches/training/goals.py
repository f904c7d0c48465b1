"""What is to be reached, and whether it is."""

from dataclasses import dataclass

from streaming.others import MOST_SHARE

from .turns import Found, convminer_way, torch_way

CPU_BATCH_SIZES = (64, 256, 1024, 4096)
# The default's own batch size, at which convminer is to be twice as fast.
USUAL_BATCH_SIZE = 256
GPU_ROWS_PER_SECOND = 20e6
GPU_REWARD_SECONDS = 20.0


@dataclass(frozen=True)
class Goal:
    """One goal."""

    text: str
    wanted: float
    found: float | None
    """None where it was not measured."""
    disturbed: bool
    """Whether other processes took too much meanwhile."""
    at_most: bool = False

    def verdict(self) -> str:
        """In a word or two."""
        if self.found is None:
            return "not measured"
        if self.disturbed:
            return "disturbed"
        is_met = self.found <= self.wanted if self.at_most else self.found >= self.wanted
        return "met" if is_met else "missed"


def goals(found: Found, gpu: str | None, gpu_batch_sizes: list[int]) -> list[Goal]:
    """All of them, with what was found."""
    disturbed = found.others > MOST_SHARE
    cpu = convminer_way("cpu"), torch_way("cpu", "eager")
    every = [
        Goal(
            f"CPU, guide's network, batches of {size:,}: rows/s against PyTorch's",
            2.0 if size == USUAL_BATCH_SIZE else 1.0,
            found.ratio(*cpu, ("mlp", size)),
            disturbed,
        )
        for size in CPU_BATCH_SIZES
    ]
    ours = convminer_way(gpu or "gpu")
    ratios = [found.ratio(ours, torch_way("cuda", "eager"), ("mlp", n)) for n in gpu_batch_sizes]
    known = [ratio for ratio in ratios if ratio is not None]
    best = [found.rate(ours, ("ensemble", size)) for size in gpu_batch_sizes]
    best = [rate for rate in best if rate is not None]
    rewards = [
        reached["seconds"]
        for rewards in found.rewards
        if rewards["device"] == gpu
        for reached in rewards["reached"]
    ]
    unreached = any(seconds is None for seconds in rewards)
    slowest = float("inf") if unreached else max(rewards, default=None)
    every += [
        Goal(
            "GPU, guide's network: the least of rows/s against PyTorch's (eager, equal batches)",
            1.5,
            min(known, default=None),
            disturbed,
        ),
        Goal(
            "GPU, whole default ensemble: million rows/s at the best batch size",
            GPU_ROWS_PER_SECOND / 1e6,
            max(best) / 1e6 if best else None,
            disturbed,
        ),
        Goal("GPU: seconds to the rewards", GPU_REWARD_SECONDS, slowest, disturbed, at_most=True),
    ]
    return every
