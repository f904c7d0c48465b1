"""Writes the seeds of the fuzz targets into fuzz/corpus: what really comes, and what once went wrong.

    python fuzz/seeds.py

Needs bittensor_wallet 4.1.1, whose signatures the seeds of `headers` carry. Those have chance in them, so
running it again writes others that are as good. All keys are public knowledge or made up.
"""

import json
import shutil
import string
from pathlib import Path

from bittensor_wallet import Keypair

FUZZ = Path(__file__).resolve().parent
CORPUS = FUZZ / "corpus"
CHECKPOINT = FUZZ.parent / "checkpoints" / "default"

AXON = Keypair.create_from_seed("0x" + "02" * 32)
CALLER = Keypair.create_from_seed("0x" + "01" * 32)
ALICE = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
# python: Keypair.create_from_uri("//Alice").sign("hello").hex()
ALICE_HELLO = (
    "0xf235b5d8b69256a9ee66c4f9e4a8d68392617637f7cc36fc4a6024ccd7df6407"
    "a12f1a70ebd4539c10f7cc2e63d2565c0b6867a8f372482b162d345fa17ae48d"
)
# The time that stands still in targets/headers.rs.
NOW = 1_763_789_253_500_000_000
SECOND = 1_000_000_000
UUID = "5ecbd69c-1cec-11ee-b0dc-e29ce36fec1a"
# hashlib.sha3_256(b"").hexdigest()
BODY_HASH = "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"

# A real row, its names in both spellings.
ROW = {
    "conversation_duration_seconds": 92.0,
    "conversation_duration_minutes": 1.5333,
    "hour_of_day": 13,
    "day_of_week": 2,
    "is_business_hours": 1,
    "is_weekend": 0,
    "time_to_first_response_seconds": 7.0,
    "avg_response_time_seconds": 11.5,
    "max_response_time_seconds": 15.0,
    "min_response_time_seconds": 7.0,
    "avg_agent_response_time_seconds": 11.75,
    "avg_user_response_time_seconds": 11.6667,
    "response_time_stddev": 2.8723,
    "response_gap_max": 15.0,
    "messages_per_minute": 5.8696,
    "total_messages": 9,
    "user_messages_count": 5,
    "agent_messages_count": 4,
    "message_ratio": 1.25,
    "avg_message_length_user": 47.0,
    "max_message_length_user": 62,
    "min_message_length_user": 25,
    "total_chars_from_user": 235,
    "avg_message_length_agent": 84.0,
    "max_message_length_agent": 120,
    "min_message_length_agent": 53,
    "total_chars_from_agent": 336,
    "question_count_agent": 3,
    "questions_per_agent_message": 0.75,
    "question_count_user": 0,
    "questions_per_user_message": 0.0,
    "sequential_user_messages": 2,
    "sequential_agent_messages": 1,
    "entities_collected_count": 5,
    "has_target_entity": 1,
    "avg_entity_confidence": 0.92,
    "min_entity_confidence": 0.8,
    "entity_collection_rate": 0.0,
    "repeated_questions": 0,
    "message_alternation_rate": 0.875,
}
LABELS = {"conversion_happened": 1, "time_to_conversion_seconds": 62.0}


def camel(name):
    first, *rest = name.split("_")
    return first + "".join(map(string.capwords, rest))


def write(target, name, content):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def request(nonce, axon=AXON.ss58_address, timeout="60.0", **changes):
    """The headers of a client of bittensor 10.5.0, signed for `axon`."""
    message = f"{nonce}.{CALLER.ss58_address}.{axon}.{UUID}.{BODY_HASH}"
    headers = {
        "name": "ConversionSynapse",
        "timeout": timeout,
        "bt_header_axon_ip": "127.0.0.1",
        "bt_header_axon_port": "8091",
        "bt_header_axon_hotkey": axon,
        "bt_header_dendrite_ip": "127.0.0.1",
        "bt_header_dendrite_version": "10005000",
        "bt_header_dendrite_nonce": str(nonce),
        "bt_header_dendrite_uuid": UUID,
        "bt_header_dendrite_hotkey": CALLER.ss58_address,
        "bt_header_dendrite_signature": "0x" + CALLER.sign(message).hex(),
        "bt_header_input_obj_features": "e30=",
        "header_size": "640",
        "total_size": "5543",
        "computed_body_hash": BODY_HASH,
    }
    headers.update(changes)
    lines = (f"{key}: {value}\r\n" for key, value in headers.items() if value is not None)
    return "".join(lines)


def write_headers():
    good = NOW - SECOND // 2
    for name, content in {
        "signed": request(good),
        "signed-second": request(good + 1),
        "signed-old": request(NOW - 63 * SECOND),
        "of-another-axon": request(good, axon=ALICE),
        "too-old": request(NOW - 65 * SECOND),
        "ahead": request(NOW + 601 * SECOND, timeout="inf"),
        "no-signature": request(good, bt_header_dendrite_signature=None),
        "not-ascii": request(good, bt_header_dendrite_uuid="\u00e9"),
        "other-numbers": request(
            good, timeout="1e3", total_size="-1", bt_header_axon_status_code="200"
        ),
        "twice": request(good) + "timeout: 12\r\n",
    }.items():
        write("headers", name, content)


def body(features, **rest):
    synapse = {
        "name": "ConversionSynapse",
        "timeout": 60.0,
        "total_size": 0,
        "header_size": 0,
        "dendrite": {"ip": None, "hotkey": CALLER.ss58_address},
        "axon": {"ip": "127.0.0.1", "status_code": None},
        "computed_body_hash": "",
        "features": features,
        "prediction": None,
        "confidence": None,
        "response_time": None,
        "miner_uid": None,
    }
    return json.dumps({**synapse, **rest})


def write_bodies():
    live = {camel(name): str(value) for name, value in ROW.items()}
    live |= {"timeToConversionSeconds": "-1", "testPk": "17"}
    odd = {"hour_of_day": float("nan"), "message_ratio": float("inf"), "total_messages": True}
    odd |= {"day_of_week": None, "repeated_questions": [1], "avg_entity_confidence": "n/a"}
    for name, content in {
        "rule": body({"session_id": "fe093ea6", **ROW}),
        "live": body(live, test_pk="17"),
        "odd": body(odd, axon=None),
        "features-alone": json.dumps(ROW),
        "empty": '{"features": {}}',
        "twice": '{"features": 1, "features": {"hour_of_day": 3, "hourOfDay": 4}}',
        "escapes": r'{"f\u0065atures": {"hour\u005fof_day": 1e5}, "x": "\ud83d\ude00\n"}',
        "numbers": '{"features": {"total_messages": 123456789012345678901234567890,'
        ' "message_ratio": -0.0, "hour_of_day": 1E-7, "day_of_week": -Infinity}}',
        "nested": '{"features": {"a": ' + "[" * 150 + "]" * 150 + "}}",
    }.items():
        write("body", name, content)


def write_addresses():
    for name, content in {
        "alice": ALICE,
        "caller": CALLER.ss58_address,
        "zero": Keypair(public_key="0x" + "00" * 32).ss58_address,
        "polkadot": "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5",
        "mistyped": ALICE[:-1] + "Z",
        "key-and-letter": bytes(range(32)) + b"\x05A",
    }.items():
        write("ss58", name, content)


def write_signatures():
    of_zero = "0x" + "00" * 63 + "80"
    for name, content in {
        "alice": f"{ALICE}\n{ALICE_HELLO}\nhello",
        "another-message": f"{ALICE}\n{ALICE_HELLO}\nhello!",
        "short": f"{ALICE}\n0x\n",
        # The key of the secret 0, as which anybody could sign.
        "zero-key": f"{Keypair(public_key='0x' + '00' * 32).ss58_address}\n{of_zero}\nhello",
        "flip": b"\x03\x01" + f"{NOW}.a.b.c.{BODY_HASH}".encode(),
    }.items():
        write("signature", name, content)


def write_metagraphs():
    neuron = {"uid": 3, "hotkey": ALICE, "stake": 12.5, "validator_permit": True, "rank": 0.1}
    other = {**neuron, "uid": 65535, "hotkey": CALLER.ss58_address, "stake": 0}
    for name, content in {
        "two": json.dumps([neuron, other]),
        "empty": "[]",
        "repeated": json.dumps([neuron, neuron]),
        "negative": json.dumps([{**neuron, "stake": -1e300}]),
        "no-permit": json.dumps([{"uid": 1, "hotkey": ALICE, "stake": 1}]),
        "no-list": json.dumps({"neurons": [neuron]}),
    }.items():
        write("metagraph", name, content)


def write_state():
    for name in ["baseline", "calibration", "decision", "scaler"]:
        write("state", name, compact(json.loads((CHECKPOINT / f"{name}.json").read_text())))
    for name, calibration in {
        "none": {},
        "platt": {"slope": 1.2, "intercept": -0.1},
        "beta": {"a": 1.0, "b": 0.9, "c": 0.1},
        "bins": {"half_life_rows": 50.0, "bins": [{"rows": 9.0, "converted": 2.5}] * 3},
        "isotonic": {"knots": [{"raw": raw, "calibrated": raw / 2} for raw in (0.1, 0.5, 0.9)]},
    }.items():
        write("state", f"calibration-{name}", json.dumps({"method": name, **calibration}))
    threshold = {"rule": "threshold=0.4", "times": None, "time_accuracy": 0.5}
    write("state", "decision-threshold", json.dumps(threshold))
    manifest = json.loads((CHECKPOINT / "manifest.json").read_text())
    # What nothing reads would only make inputs longer.
    manifest |= {"training": None, "metrics": None, "parameters": {}}
    write("checkpoint", "default", compact(manifest))
    # The baseline alone answers then, which is quicker to load.
    write("checkpoint", "no-networks", compact({**manifest, "networks": None}))
    write("checkpoint", "other-format", '{"format_version": 3}')


def write_nonces():
    caller = {"last": {"a": NOW, UUID: NOW - SECOND}, "floor": NOW - 60 * SECOND}
    caller |= {"ahead_seconds": 3}
    state = {"format_version": 1, "saved_at_ns": NOW, "is_last": True, "floor": NOW - 9 * SECOND}
    state |= {"callers": {"5H": caller, ALICE: {"last": {}, "floor": 0}}}
    for name, content in {
        "stopped": state,
        "crashed": {**state, "is_last": False},
        "empty": {**state, "floor": 0, "callers": {}},
        "other-version": {"format_version": 2},
    }.items():
        write("nonces", name, json.dumps(content))


def write_tables():
    row = {"session_id": "fe093ea6", **ROW, **LABELS}
    lost = {**row, "session_id": None, "conversion_happened": 0, "time_to_conversion_seconds": -1.0}
    short = {"sessionId": "a", "messageRatio": 1.25, "hourOfDay": float("nan")}
    short |= {"conversionHappened": "true", "timeToConversionSeconds": "3"}
    header = ",".join(row)
    cells = ",".join("" if value is None else str(value) for value in row.values())
    for name, content in {
        "full.csv": f"{header}\n{cells}\n{cells}\n",
        "short.csv": "message_ratio,conversion_happened,time_to_conversion_seconds\n"
        '1.25,1,62\n"NaN",0,-1\n\n,False,\n',
        "quotes.csv": 'session_id,hour_of_day,conversionHappened\n"a ""b"", c",3,0\r\n',
        "semicolons.csv": "a;b\n1;2\n",
        "full.ndjson": json.dumps(row) + "\n" + json.dumps(lost) + "\n",
        "short.ndjson": "\ufeff" + json.dumps(short) + "\n\n" + json.dumps(short) + "\n",
        "array.ndjson": "[1]\n",
    }.items():
        write("table", name, content)


def write_dictionary(target, words):
    folder = FUZZ / "dictionaries"
    folder.mkdir(exist_ok=True)
    quoted = (word.replace("\\", "\\\\").replace('"', '\\"') for word in words)
    (folder / f"{target}.dict").write_text("".join(f'"{word}"\n' for word in quoted))


def write_dictionaries():
    """Words that a fuzzer would hardly find: what hashes to something, and what is compared in a crate
    that is compiled without coverage."""
    tokens = ["null", "true", "false", "NaN", "Infinity", "-Infinity", "1e5", "-1", '": ', ", ", "{}", "[]"]
    names = [*ROW, *LABELS, "session_id"]
    names += [camel(name) for name in names]
    outputs = ["features", "prediction", "confidence", "response_time", "axon", "dendrite"]
    headers = [line.split(":")[0] for line in request(NOW).splitlines()]
    files = ["baseline", "calibration", "decision", "scaler", "manifest"]
    keys = {key for name in files for key in json.loads((CHECKPOINT / f"{name}.json").read_text())}
    methods = ["none", "temperature", "platt", "beta", "bins", "isotonic", "slope", "intercept", "knots"]
    methods += ["reward", "threshold=", "raw", "calibrated", "rows", "converted", "half_life_rows"]
    write_dictionary("body", names + outputs + tokens)
    write_dictionary("table", names + tokens)
    write_dictionary("headers", headers + ["inf", "NaN", "1e300", "-1"])
    write_dictionary("metagraph", ["uid", "hotkey", "stake", "validator_permit", ALICE, *tokens])
    nonces = ["format_version", "saved_at_ns", "is_last", "floor", "callers", "last", "ahead_seconds"]
    write_dictionary("nonces", [*nonces, "5H", str(NOW + 1), str(2**64 - 1), *tokens])
    write_dictionary("state", sorted(keys) + methods + tokens)
    write_dictionary("checkpoint", sorted(keys) + tokens)


if __name__ == "__main__":
    shutil.rmtree(CORPUS, ignore_errors=True)
    write_headers()
    write_bodies()
    write_addresses()
    write_signatures()
    write_metagraphs()
    write_state()
    write_nonces()
    write_tables()
    write_dictionaries()
