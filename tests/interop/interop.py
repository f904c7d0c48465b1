"""Tests of `convminer serve` and `convminer query` with the real Bittensor SDK.

Run by `run.sh`, once for each version of the SDK. Needs no internet, no chain and no fixed port.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

# Before the SDK is imported: it makes folders in the home directory and reads sys.argv.
ARGUMENTS = argparse.ArgumentParser(description=__doc__)
ARGUMENTS.add_argument("--binary", required=True)
ARGUMENTS.add_argument("--checkpoint", required=True)
ARGUMENTS = ARGUMENTS.parse_args()
sys.argv = sys.argv[:1]
HOME = tempfile.TemporaryDirectory(prefix="convminer-interop-")
os.environ["HOME"] = HOME.name

import aiohttp
import bittensor as bt
from bittensor.utils import networking
from bittensor_wallet import Keypair

import synapses
from miner import Miner, Wallets, clean_environment

# The SDK asks the internet for its own address whenever a dendrite or an axon is made.
networking.get_external_ip = lambda: "192.0.2.1"
# A refusal that is expected need not be logged.
bt.logging.set_trace(False)
bt.logging.setLevel("CRITICAL")

SECOND_NS = 1_000_000_000
TIMEOUT = 60.0


class Dendrite(bt.Dendrite):
    """The real dendrite, whose requests a test can spoil before they are sent."""

    def __init__(self, keypair, spoil=None):
        super().__init__(wallet=keypair)
        self.spoil = spoil

    def preprocess_synapse_for_request(self, target_axon_info, synapse, timeout=12.0):
        synapse = super().preprocess_synapse_for_request(target_axon_info, synapse, timeout)
        if self.spoil:
            self.spoil(self, synapse)
        return synapse

    def sign(self, synapse, keypair=None):
        message = (
            f"{synapse.dendrite.nonce}.{synapse.dendrite.hotkey}.{synapse.axon.hotkey}."
            f"{synapse.dendrite.uuid}.{synapse.body_hash}"
        )
        signature = (keypair or self.keypair).sign(message)
        synapse.dendrite.signature = f"0x{signature.hex()}"


async def ask(miner, keypair, synapse, spoil=None, timeout=TIMEOUT):
    """One call of the real client."""
    async with Dendrite(keypair, spoil) as dendrite:
        return await dendrite.forward(
            miner.axon(), synapse, timeout=timeout, deserialize=False, run_async=True
        )


def check_signature(miner, answered, keypair):
    axon = answered.axon
    assert axon.hotkey == miner.hotkey
    message = f"{axon.nonce}.{keypair.ss58_address}.{axon.hotkey}.{axon.uuid}"
    assert Keypair(ss58_address=miner.hotkey).verify(message, axon.signature)


def check_success(miner, wallets, answered):
    assert answered.is_success, (answered.dendrite.status_code, answered.dendrite.status_message)
    assert answered.axon.status_message == "Success"
    assert answered.axon.process_time >= 0
    synapses.check_answer(answered)
    check_signature(miner, answered, wallets.validator)


def check_refused(answered, status, part):
    seen = (answered.dendrite.status_code, answered.dendrite.status_message)
    assert answered.is_failure, seen
    assert seen[0] == status and part in seen[1], seen
    assert answered.prediction is None


async def post(miner, keypair, synapse, body=None, headers=None, path="ConversionSynapse"):
    """The real client's headers with another body: the client itself would hide what came back."""
    async with Dendrite(keypair) as dendrite:
        request = dendrite.preprocess_synapse_for_request(miner.axon(), synapse, TIMEOUT)
        headers = {**request.to_headers(), **(headers or {}), "content-type": "application/json"}
        data = json.dumps(request.model_dump()).encode() if body is None else body
        session = await dendrite.session
        async with session.post(miner.url + path, headers=headers, data=data) as response:
            return response.status, response.headers, await response.read()


def check_error(response, status, part):
    code, headers, body = response
    assert code == status, (code, body)
    assert headers["content-type"] == "application/json"
    assert headers["bt_header_axon_status_code"] == str(status)
    answer = json.loads(body)
    assert type(answer) is dict and part in answer["message"], answer


async def case_snake_answer_is_accepted(miner, wallets):
    synapse = synapses.snake(1)
    answered = await ask(miner, wallets.validator, synapse)
    check_success(miner, wallets, answered)
    synapses.same_json(answered.features, synapse.features)


async def case_camel_answer_is_accepted(miner, wallets):
    synapse = synapses.camel(2)
    assert len(set(synapse.features) - {"sessionId", "testPk", "somethingNew"}) == 42
    answered = await ask(miner, wallets.validator, synapse)
    check_success(miner, wallets, answered)
    assert answered.test_pk == "pk-2"
    synapses.same_json(answered.features, synapse.features)


async def case_forged_signature_is_401(miner, wallets):
    spoil = lambda dendrite, synapse: dendrite.sign(synapse, wallets.stranger)
    answered = await ask(miner, wallets.validator, synapses.snake(3), spoil)
    check_refused(answered, 401, "Signature mismatch")
    assert answered.failed_verification


async def case_request_to_another_axon_is_401(miner, wallets):
    def spoil(dendrite, synapse):
        synapse.axon.hotkey = wallets.stranger.ss58_address
        dendrite.sign(synapse)

    answered = await ask(miner, wallets.validator, synapses.snake(3), spoil)
    check_refused(answered, 401, "Signature mismatch")


async def case_replayed_nonce_is_401(miner, wallets):
    nonce = time.time_ns()
    async with Dendrite(wallets.validator) as dendrite:

        def spoil(dendrite, synapse):
            synapse.dendrite.nonce = nonce
            dendrite.sign(synapse)

        dendrite.spoil = spoil
        call = lambda: dendrite.forward(
            miner.axon(), synapses.snake(4), timeout=TIMEOUT, deserialize=False
        )
        check_success(miner, wallets, await call())
        check_refused(await call(), 401, "Nonce is too old, a newer one was last processed")
        nonce -= 1
        check_refused(await call(), 401, "Nonce is too old, a newer one was last processed")
        nonce += 2
        check_success(miner, wallets, await call())


async def case_stale_nonce_is_401(miner, wallets):
    def aged(seconds):
        def spoil(dendrite, synapse):
            synapse.dendrite.nonce = time.time_ns() - int(seconds * SECOND_NS)
            dendrite.sign(synapse)

        return spoil

    answered = await ask(miner, wallets.validator, synapses.snake(5), aged(17), timeout=12)
    check_refused(answered, 401, "acceptable delta is 16.00 seconds")
    answered = await ask(miner, wallets.validator, synapses.snake(5), aged(130), timeout=100_000)
    check_refused(answered, 401, "acceptable delta is 124.00 seconds")
    check_success(
        miner, wallets, await ask(miner, wallets.validator, synapses.snake(5), aged(14), timeout=12)
    )


async def case_missing_signature_is_401(miner, wallets):
    def spoil(_, synapse):
        synapse.dendrite.signature = None

    answered = await ask(miner, wallets.validator, synapses.snake(6), spoil)
    check_refused(answered, 401, "Missing Signature")


async def case_unknown_hotkey_is_403(miner, wallets):
    answered = await ask(miner, wallets.stranger, synapses.snake(7))
    check_refused(answered, 403, "not registered")
    assert answered.is_blacklist


async def case_unknown_synapse_is_404(miner, wallets):
    class OtherSynapse(synapses.Snake):
        pass

    answered = await ask(miner, wallets.validator, OtherSynapse(**synapses.snake(8).model_dump()))
    check_refused(answered, 404, "Synapse name 'OtherSynapse' not found")


async def case_malformed_json_is_400(miner, wallets):
    for body in (b'{"features": {', b"", b"[]", b'{"features": null}', b"\xff", b'{"feature": {}}'):
        check_error(await post(miner, wallets.validator, synapses.snake(9), body), 400, "body")


async def case_oversized_body_is_413(miner, wallets):
    part = "at most 262144 bytes"
    for size in (270_000, 5_000_000):
        synapse = synapses.camel(10)
        synapse.features["padding"] = "x" * size
        answered = await ask(miner, wallets.validator, synapse)
        check_refused(answered, 413, part)

    async def chunks():
        for _ in range(300):
            yield b"x" * 1024

    check_error(await post(miner, wallets.validator, synapses.snake(10), chunks()), 413, part)


async def case_errors_are_objects_with_a_message(miner, wallets):
    validator, stranger = wallets.validator, wallets.stranger
    synapse = synapses.snake(11)
    nothing = {"bt_header_dendrite_nonce": "now"}
    check_error(await post(miner, validator, synapse, headers=nothing), 400, "dendrite_nonce")
    check_error(await post(miner, validator, synapse, headers={"timeout": "None"}), 400, "timeout")
    forged = {"bt_header_dendrite_signature": "0x12"}
    check_error(await post(miner, validator, synapse, headers=forged), 401, "signature")
    check_error(await post(miner, stranger, synapse), 403, "not registered")
    check_error(await post(miner, validator, synapse, path="Other"), 404, "Other")
    check_error(await post(miner, validator, synapse, body=b"x" * 300_000), 413, "bytes")
    async with aiohttp.ClientSession() as session:
        async with session.get(miner.url + "ConversionSynapse") as response:
            check_error((response.status, response.headers, await response.read()), 405, "POST")


async def case_a_thousand_conversations_in_a_row(miner, wallets):
    converted = 0
    async with Dendrite(wallets.validator) as dendrite:
        for seed in range(1000):
            synapse = synapses.camel(seed) if seed % 3 == 0 else synapses.snake(seed)
            answered = await dendrite.forward(
                miner.axon(), synapse, timeout=TIMEOUT, deserialize=False
            )
            check_success(miner, wallets, answered)
            prediction = answered.prediction
            if seed % 3:
                prediction = prediction.model_dump()
            converted += prediction["conversion_happened"]
            dendrite.synapse_history.clear()
    assert 0 < converted < 1000, f"{converted} of 1000 convert"


async def case_many_clients_at_once(miner, wallets):
    calls = [ask(miner, wallets.validator, synapses.snake(seed)) for seed in range(64)]
    for answered in await asyncio.gather(*calls):
        check_success(miner, wallets, answered)


def head_and_body(miner, wallets):
    dendrite = Dendrite(wallets.validator)
    request = dendrite.preprocess_synapse_for_request(miner.axon(), synapses.snake(12), TIMEOUT)
    body = json.dumps(request.model_dump()).encode()
    headers = {**request.to_headers(), "host": "miner", "content-length": len(body)}
    head = "POST /ConversionSynapse HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return head.encode() + b"\r\n", body


async def case_a_stop_answers_what_is_in_flight(miner, wallets):
    # The model answers within a millisecond, so the request is held up by its own body.
    head, body = head_and_body(miner, wallets)
    reader, writer = await asyncio.open_connection(miner.ip, miner.port)
    idle = await asyncio.open_connection(miner.ip, miner.port)
    writer.write(head + body[:100])
    await writer.drain()
    await asyncio.sleep(0.3)
    miner.ask_to_stop(signal.SIGTERM)
    deadline = time.time() + 10
    while True:
        try:
            _, other = await asyncio.open_connection(miner.ip, miner.port)
        except ConnectionError:
            # Refused, or reset if the listener closed just then.
            break
        other.close()
        assert time.time() < deadline, "new connections are still accepted"
        await asyncio.sleep(0.02)
    writer.write(body[100:])
    await writer.drain()
    response = await asyncio.wait_for(reader.read(), 30)
    assert response.startswith(b"HTTP/1.1 200 OK\r\n"), response[:200]
    assert b'"conversion_happened": ' in response
    assert miner.wait() == 0
    writer.close()
    idle[1].close()


async def case_a_stop_by_ctrl_c(miner, wallets):
    async with Dendrite(wallets.validator) as dendrite:
        # The connection stays open: it must not hold up the stop.
        answered = await dendrite.forward(
            miner.axon(), synapses.snake(13), timeout=TIMEOUT, deserialize=False
        )
        check_success(miner, wallets, answered)
        started = time.time()
        miner.ask_to_stop(signal.SIGINT)
        assert miner.wait() == 0
        assert time.time() - started < 3


def query(wallets, address, hotkey):
    """Asks with `convminer query`, for two conversations in a file."""
    file = wallets.folder / "query.csv"
    rows = [synapses.conversation(seed) for seed in (14, 15)]
    names = list(rows[0])
    lines = [",".join(names)] + [",".join(str(row[name]) for name in names) for row in rows]
    file.write_text("\n".join(lines) + "\n")
    command = [
        ARGUMENTS.binary,
        "query",
        f"--axon={address}",
        f"--hotkey={hotkey}",
        f"--data={file}",
        "--json",
        *wallets.arguments("validator"),
    ]
    done = subprocess.run(
        command,
        cwd=wallets.folder,
        env=clean_environment(wallets.folder),
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


async def case_query_asks_the_miner(miner, wallets):
    address = f"{miner.ip}:{miner.port}"
    code, lines, errors = await asyncio.to_thread(query, wallets, address, miner.hotkey)
    assert code == 0 and len(lines) == 2, (code, lines, errors)
    assert all(line["signed"] and "error" not in line for line in lines), lines
    stranger = wallets.stranger.ss58_address
    code, lines, errors = await asyncio.to_thread(query, wallets, address, stranger)
    assert code == 1 and "refused with 401" in lines[0]["error"], (code, lines, errors)


async def case_query_asks_the_reference_axon(_, wallets):
    class Wallet:
        hotkey = wallets.miner
        coldkeypub = wallets.miner

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    axon = bt.Axon(wallet=Wallet(), port=port, ip="127.0.0.1", external_ip="127.0.0.1")
    axon.fast_config.host = "127.0.0.1"
    seen = []

    def forward(synapse: synapses.Plain) -> synapses.Plain:
        seen.append(synapse.features)
        synapse.prediction = {"conversion_happened": 1, "time_to_conversion_seconds": 62.5}
        synapse.confidence = 0.75
        return synapse

    axon.attach(forward_fn=forward)
    axon.start()
    try:
        deadline = time.time() + 20
        while not axon.fast_server.started:
            assert time.time() < deadline, "the reference axon does not start"
            await asyncio.sleep(0.05)
        hotkey = wallets.miner.ss58_address
        code, lines, errors = await asyncio.to_thread(query, wallets, f"127.0.0.1:{port}", hotkey)
    finally:
        axon.stop()
    assert code == 0 and len(lines) == 2, (code, lines, errors)
    assert lines[0]["time_to_conversion_seconds"] == 62.5 and lines[0]["signed"] is False
    sent = {name: value for name, value in synapses.conversation(14).items()}
    assert seen[0] == sent, (seen[0], sent)


def main():
    cases = {name: case for name, case in globals().items() if name.startswith("case_")}
    passed = failed = 0
    for name, case in cases.items():
        with tempfile.TemporaryDirectory(dir=HOME.name) as folder:
            wallets = Wallets(folder)
            started = time.time()
            miner = None
            try:
                miner = Miner(
                    ARGUMENTS.binary,
                    wallets,
                    f"--checkpoint={ARGUMENTS.checkpoint}",
                    "--admin.listen=off",
                )
                asyncio.run(case(miner, wallets))
                passed += 1
                print(f"ok    {name[5:]} ({time.time() - started:.1f} s)", flush=True)
            except Exception:
                failed += 1
                print(f"FAIL  {name[5:]}\n{traceback.format_exc()}", flush=True)
                if miner:
                    with open(miner.log.name) as log:
                        print(log.read(), flush=True)
            finally:
                if miner:
                    miner.close()
    print(f"bittensor {bt.__version__}: {passed} passed, {failed} failed", flush=True)
    # Threads of the SDK would keep the interpreter.
    sys.stdout.flush()
    HOME.cleanup()
    os._exit(0 if failed == 0 and passed == len(cases) else 1)


if __name__ == "__main__":
    main()
