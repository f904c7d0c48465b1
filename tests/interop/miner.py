"""Starts and stops `convminer serve`, with wallets made by the real wallet library."""

import json
import os
import queue
import signal
import subprocess
import threading
from pathlib import Path

import bittensor as bt
from bittensor_wallet import Keypair, Wallet

PATIENCE = 60


class Wallets:
    """A miner's and a validator's hotkey, and the metagraph that knows the validator."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.miner = self.make("miner")
        self.validator = self.make("validator")
        self.stranger = Keypair.create_from_mnemonic(Keypair.generate_mnemonic())
        self.metagraph = self.folder / "metagraph.json"
        neurons = [
            {
                "uid": uid,
                "hotkey": keypair.ss58_address,
                "stake": 1000.0,
                "validator_permit": True,
            }
            for uid, keypair in enumerate([self.miner, self.validator])
        ]
        self.metagraph.write_text(json.dumps(neurons))

    def make(self, hotkey):
        wallet = Wallet(name="interop", hotkey=hotkey, path=str(self.folder / "wallets"))
        keypair = Keypair.create_from_mnemonic(Keypair.generate_mnemonic())
        wallet.set_hotkey(keypair, encrypt=False, overwrite=True)
        return keypair

    def arguments(self, hotkey):
        return [
            f"--wallet.path={self.folder / 'wallets'}",
            "--wallet.name=interop",
            f"--wallet.hotkey={hotkey}",
        ]


def remember_nothing(wallets):
    """Leaves what a miner leaves that stopped in good order and had answered nobody.

    One that starts for the first time takes no request that was signed before.
    """
    state = Path(wallets.folder, "data", "state")
    state.mkdir(parents=True, exist_ok=True)
    nothing = {"format_version": 1, "is_last": True, "floor": 0, "callers": {}}
    file = state / f"nonces.{wallets.miner.ss58_address}.json"
    file.write_text(json.dumps(nothing))


class Miner:
    """A running `convminer serve`, in the wallets' folder."""

    def __init__(self, binary, wallets, *arguments):
        command = [
            binary,
            "serve",
            "--axon.ip=127.0.0.1",
            "--axon.port=0",
            f"--metagraph={wallets.metagraph}",
            *wallets.arguments("miner"),
            *arguments,
        ]
        self.log = open(wallets.folder / "miner.log", "ab")
        remember_nothing(wallets)
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=self.log,
            cwd=wallets.folder,
            env=clean_environment(wallets.folder),
            text=True,
        )
        try:
            ready = json.loads(self.first_line())
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        ip, port = ready["listening"].rsplit(":", 1)
        self.ip, self.port, self.hotkey = ip, int(port), ready["hotkey"]
        self.admin = ready["admin"]
        assert self.hotkey == wallets.miner.ss58_address
        self.url = f"http://{self.ip}:{self.port}/"

    def first_line(self):
        lines = queue.Queue()
        reader = threading.Thread(
            target=lambda: lines.put(self.process.stdout.readline()), daemon=True
        )
        reader.start()
        line = lines.get(timeout=PATIENCE)
        assert line, f"the miner ended; see {self.log.name}"
        return line

    def axon(self):
        return bt.AxonInfo(
            version=1,
            ip=self.ip,
            port=self.port,
            ip_type=4,
            hotkey=self.hotkey,
            coldkey="",
            protocol=4,
            placeholder1=0,
            placeholder2=0,
        )

    def ask_to_stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self):
        return self.process.wait(timeout=PATIENCE)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()


def clean_environment(home):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CONVMINER_")}
    return {**kept, "HOME": str(home)}
