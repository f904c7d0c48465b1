"""A miner as the guide builds it: the SDK's axon, and two networks in PyTorch.

The weights are random: they change what it answers, not how long it takes. Prints one line of JSON
when it can be called, as `convminer serve` does.
"""

import json
import os
import socket
import sys
import tempfile
import time
from typing import Any, Optional, Tuple

# Before the SDK is imported: it makes folders in the home directory and reads sys.argv.
sys.argv = sys.argv[:1]
os.environ["HOME"] = tempfile.mkdtemp(prefix="convminer-axon-")

import bittensor as bt
import torch
from bittensor_wallet import Keypair
from torch import nn

LONGEST_TIME_SECONDS = 120.0
FEATURES = """conversation_duration_seconds conversation_duration_minutes hour_of_day day_of_week
is_business_hours is_weekend time_to_first_response_seconds avg_response_time_seconds
max_response_time_seconds min_response_time_seconds avg_agent_response_time_seconds
avg_user_response_time_seconds response_time_stddev response_gap_max messages_per_minute
total_messages user_messages_count agent_messages_count message_ratio avg_message_length_user
max_message_length_user min_message_length_user total_chars_from_user avg_message_length_agent
max_message_length_agent min_message_length_agent total_chars_from_agent question_count_agent
questions_per_agent_message question_count_user questions_per_user_message sequential_user_messages
sequential_agent_messages entities_collected_count has_target_entity avg_entity_confidence
min_entity_confidence entity_collection_rate repeated_questions message_alternation_rate""".split()
assert len(FEATURES) == 40


class ConversionSynapse(bt.Synapse):
    """With the features as a dictionary: the least that the SDK can check of them."""

    features: dict[str, Any]
    prediction: Optional[dict[str, Any]] = None
    confidence: Optional[float] = None
    response_time: Optional[float] = None
    miner_uid: Optional[int] = None


class GuideMiner:
    """The guide's networks, one forward pass a request."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.classifier = self.network(0.3, nn.Sigmoid()).eval()
        self.regressor = self.network(0.2, nn.ReLU()).eval()
        # As a fitted scaler would.
        self.mean = torch.rand(40)
        self.scale = torch.rand(40) + 0.5

    @staticmethod
    def network(dropout: float, last: nn.Module) -> nn.Module:
        """Of the guide."""
        return nn.Sequential(
            nn.Linear(40, 128),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(128, 64),
            nn.ReLU(),
            nn.Linear(64, 1),
            last,
        )

    def forward(self, synapse: ConversionSynapse) -> ConversionSynapse:
        """Answers one conversation."""
        began = time.perf_counter()
        values = [float(synapse.features.get(name) or 0.0) for name in FEATURES]
        rows = (torch.tensor(values, dtype=torch.float32).unsqueeze(0) - self.mean) / self.scale
        with torch.no_grad():
            confidence = float(self.classifier(rows).item())
            happened = round(confidence)
            seconds = -1.0
            if happened:
                seconds = float(self.regressor(rows).item())
                seconds = max(1.0, min(seconds, LONGEST_TIME_SECONDS))
        synapse.prediction = {
            "conversion_happened": happened,
            "time_to_conversion_seconds": seconds,
        }
        synapse.confidence = confidence
        synapse.response_time = time.perf_counter() - began
        return synapse


def everybody(synapse: ConversionSynapse) -> Tuple[bool, str]:
    """The blacklist: nobody is on it. The SDK compares the signature, so it is the old `Tuple`."""
    return False, "allowed"


def free_port() -> int:
    """One that was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def main() -> None:
    """Answers until it is killed."""
    bt.logging.setLevel("CRITICAL")
    keypair = Keypair.create_from_mnemonic(Keypair.generate_mnemonic())

    class Wallet:
        """Keys alone; nothing on disk."""

        hotkey = keypair
        coldkeypub = keypair

    port = free_port()
    axon = bt.Axon(wallet=Wallet(), port=port, ip="127.0.0.1", external_ip="127.0.0.1")
    axon.fast_config.host = "127.0.0.1"
    miner = GuideMiner()

    def forward(synapse: ConversionSynapse) -> ConversionSynapse:
        return miner.forward(synapse)

    axon.attach(forward_fn=forward, blacklist_fn=everybody)
    axon.start()
    while not axon.fast_server.started:
        time.sleep(0.005)
    ready = {"listening": f"127.0.0.1:{port}", "hotkey": keypair.ss58_address}
    print(json.dumps(ready), flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
