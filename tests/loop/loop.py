"""The operator's loop in small: a real client asks, truths come in, and each command has its turn.

Run by `run.sh`. Needs no internet, no chain and no fixed port.
"""

import argparse
import asyncio
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

# Before the SDK is imported: it makes folders in the home directory and reads sys.argv.
ARGUMENTS = argparse.ArgumentParser(description=__doc__)
ARGUMENTS.add_argument("--binary", required=True)
ARGUMENTS.add_argument("--requests", type=int, default=2000)
ARGUMENTS = ARGUMENTS.parse_args()
sys.argv = sys.argv[:1]
HOME = tempfile.TemporaryDirectory(prefix="convminer-loop-")
os.environ["HOME"] = HOME.name
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "interop"))

import bittensor as bt
from bittensor.utils import networking

import synapses
from miner import Miner, Wallets, clean_environment

# The SDK asks the internet for its own address whenever a dendrite or an axon is made.
networking.get_external_ip = lambda: "192.0.2.1"
bt.logging.set_trace(False)
bt.logging.setLevel("CRITICAL")

DAY = 86_400
ROOT = Path(HOME.name)
AT_ONCE = 16


def step(title):
    print(f"-- {title}", flush=True)


def convminer(*arguments, fails=False):
    """What a command prints; one that should fail must, and what it says then is returned."""
    command = [ARGUMENTS.binary, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(ROOT), capture_output=True, text=True, timeout=600
    )
    said = f"{' '.join(command[1:])}: {done.returncode}\n{done.stdout}{done.stderr}"
    assert (done.returncode != 0) == fails, said
    return done.stderr if fails else done.stdout


def as_json(*arguments):
    return json.loads(convminer(*arguments, "--json"))


def later(days):
    """The value of --now for so many days from now."""
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    return f"--now={moment.strftime('%Y-%m-%dT%H:%M:%SZ')}"


def challenges(count, seed):
    """Conversations with their truth, from the binary's own generator."""
    file = ROOT / f"challenges-{seed}.ndjson"
    convminer(
        "generate", "--challenge", "noisy", "--missing-rate", 0, "--rows", count, "--seed", seed,
        "--out", file,
    )
    return [json.loads(line) for line in file.read_text().splitlines()]


LABELS = ("conversion_happened", "time_to_conversion_seconds", "time_to_conversion_minutes")


async def ask_all(miner, validator, rows):
    """The answers of the miner, by the conversation's name."""
    answers = {}
    gate = asyncio.Semaphore(AT_ONCE)

    async def ask(dendrite, row):
        features = {name: value for name, value in row.items() if name not in LABELS}
        async with gate:
            synapse = await dendrite.forward(
                miner.axon(),
                synapses.Plain(features=features),
                timeout=60.0,
                deserialize=False,
                run_async=True,
            )
        assert synapse.is_success, (synapse.dendrite.status_code, synapse.dendrite.status_message)
        synapses.check_answer(synapse)
        answers[row["session_id"]] = synapse

    # A dendrite each: the nonces of one must rise, and its requests overtake each other.
    for start in range(0, len(rows), AT_ONCE):
        batch = rows[start : start + AT_ONCE]
        dendrites = [bt.Dendrite(wallet=validator) for _ in batch]
        try:
            await asyncio.gather(*map(ask, dendrites, batch))
        finally:
            for dendrite in dendrites:
                await dendrite.aclose_session()
    return answers


def reward(answer, row, weights):
    """What a validator of the main branch computes, from the answer as it arrived."""
    said, truth = answer.prediction["conversion_happened"], int(row["conversion_happened"])
    right = weights[truth] if said == truth else 0.0
    near = 0.0
    if said == 1 and truth == 1:
        error = answer.prediction["time_to_conversion_seconds"] - row["time_to_conversion_seconds"]
        near = max(0.0, 1.0 - abs(error) / 15.0)
    quick = max(0.0, 1.0 - answer.response_time / 60.0)
    return 0.8 * (0.55 * right + 0.45 * near) + 0.2 * quick


def mean_reward(rows, answers, order):
    """The class weights begin at 0.375 and 0.625, and follow each hundred truths."""
    weights, seen, total = {1: 0.375, 0: 0.625}, [], 0.0
    by_name = {row["session_id"]: row for row in rows}
    for name in order:
        row = by_name[name]
        total += reward(answers[name], row, weights)
        seen.append(int(row["conversion_happened"]))
        if len(seen) == 100:
            share = sum(seen) / 100
            weights, seen = {1: 1 - share, 0: share}, []
    return total / len(order)


def journal():
    """The records, in order of time."""
    lines = []
    for file in sorted((ROOT / "data" / "predictions").glob("*.jsonl")):
        lines += [json.loads(line) for line in file.read_text().splitlines()]
    return sorted(lines, key=lambda record: (record["time_ns"], record["validator"], record["nonce"]))


def wait_for(condition, what, seconds=60):
    for _ in range(seconds * 10):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s for {what}")


def stats(miner):
    with urllib.request.urlopen(f"http://{miner.admin}/stats.json", timeout=10) as response:
        return json.load(response)


def main():
    wallets = Wallets(ROOT)
    count = ARGUMENTS.requests

    step("train a first model")
    convminer("generate", "--challenge", "noisy", "--missing-rate", 0, "--rows", 3000, "--seed", 1,
              "--out", "train.parquet")
    convminer("train", "--data", "train.parquet", "--epochs", 4, "--out", "checkpoints/first")

    step(f"answer {count} requests of the real client")
    miner = Miner(
        ARGUMENTS.binary, wallets, "--admin.listen=127.0.0.1:0", "--journal=all",
        "--state-interval=1",
    )
    try:
        loop(miner, wallets, challenges(count, seed=2))
    finally:
        miner.close()
    print("the loop works")


def loop(miner, wallets, rows):
    began = time.monotonic()
    answers = asyncio.run(ask_all(miner, wallets.validator, rows))
    print(f"   {len(rows) / (time.monotonic() - began):.0f} requests/s")
    assert len(answers) == len(rows)
    wait_for(lambda: len(journal()) == len(rows), "the journal")

    step("learn the truth")
    labels = ROOT / "labels.ndjson"
    kept = ("session_id", "conversion_happened", "time_to_conversion_seconds")
    labels.write_text("".join(json.dumps({key: row[key] for key in kept}) + "\n" for row in rows))
    print("   " + convminer("outcomes", "import", labels).strip().replace("\n", "\n   "))
    again = as_json("outcomes", "import", labels)
    assert again["new"] == 0, again

    step("replay: the mean reward, three times")
    replayed = as_json("replay")
    order = [record["session_id"] for record in journal()]
    ours = mean_reward(rows, answers, order)
    recomputed = float(
        subprocess.run(
            [sys.executable, HERE / "recompute.py", ROOT / "data/predictions", ROOT / "data/outcomes"],
            capture_output=True, text=True, check=True,
        ).stdout
    )
    theirs = replayed["mean_reward"]
    print(f"   the client {ours!r}, the files {recomputed!r}, replay {theirs!r}")
    assert abs(theirs - ours) < 1e-9 and abs(theirs - recomputed) < 1e-9
    wait_for(lambda: (stats(miner)["truths"] or {}).get("known") == len(rows), "truths in /stats")

    step("diagnose")
    convminer("diagnose", "--html", "diagnosis.html")
    diagnosis = json.loads((ROOT / "data/diagnostics.json").read_text())
    assert diagnosis["points"] == len(rows), diagnosis["points"]
    assert abs(diagnosis["mean_reward"] - theirs) < 1e-9

    step("calibrate from the journal")
    convminer("calibrate", "--from-journal")

    step("tune: refused for time, then accepted with a moved clock")
    change = ("threshold_offset", 0.02, "--reason", "the loop's test")
    refusal = convminer("tune", "apply", *change, fails=True)
    assert "14" in refusal, refusal
    convminer("tune", "apply", *change, later(15))
    wait_for(lambda: "0.02" in json.dumps(stats(miner)["tuning"]), "the tuned value in /stats")
    refusal = convminer("tune", "apply", "threshold_offset", 0.03, "--reason", "again", later(40),
                        fails=True)
    assert "30" in refusal, refusal
    convminer("tune", "history")

    step("learn, promote, roll back")
    learned = as_json("learn", later(1))
    print(f"   {learned}")
    challenger = (ROOT / "checkpoints/challenger").read_text().strip()
    assert (ROOT / "checkpoints/latest").read_text().strip() == "first"
    convminer("models", "promote", challenger, "--reason", "the loop's test")
    wait_for(lambda: stats(miner)["checkpoint"].endswith(challenger), "the promoted checkpoint")
    listed = convminer("models", "list")
    assert challenger in listed and "first" in listed, listed
    convminer("models", "rollback", "--reason", "the loop's test")
    wait_for(lambda: stats(miner)["checkpoint"].endswith("first"), "the first checkpoint")

    step("stop, and look at the state")
    miner.ask_to_stop()
    assert miner.wait() == 0
    convminer("state", "check")
    print("   " + convminer("state", "show").strip().replace("\n", "\n   "))


main()
