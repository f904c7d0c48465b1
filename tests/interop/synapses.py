"""The synapse as validators define it: with 40 snake_case features, and with 42 camelCase ones."""

import json
import math
import random
from typing import Any, Dict, Optional

import bittensor as bt
from pydantic import BaseModel, ConfigDict, StrictFloat, StrictInt, create_model

FLOATS = """conversation_duration_seconds conversation_duration_minutes time_to_first_response_seconds
avg_response_time_seconds max_response_time_seconds min_response_time_seconds
avg_agent_response_time_seconds avg_user_response_time_seconds response_time_stddev response_gap_max
messages_per_minute message_ratio avg_message_length_user avg_message_length_agent
questions_per_agent_message questions_per_user_message avg_entity_confidence min_entity_confidence
entity_collection_rate message_alternation_rate""".split()
INTS = """hour_of_day day_of_week is_business_hours is_weekend total_messages user_messages_count
agent_messages_count max_message_length_user min_message_length_user total_chars_from_user
max_message_length_agent min_message_length_agent total_chars_from_agent question_count_agent
question_count_user sequential_user_messages sequential_agent_messages entities_collected_count
has_target_entity repeated_questions""".split()
assert len(FLOATS) + len(INTS) == 40


class Prediction(BaseModel):
    """Refuses what a validator gives no reward for: other types, missing and unknown keys."""

    model_config = ConfigDict(extra="forbid")
    conversion_happened: StrictInt
    time_to_conversion_seconds: StrictFloat


def snake_synapse():
    """The synapse of the public main branch."""
    types = {"session_id": str, **dict.fromkeys(FLOATS, float), **dict.fromkeys(INTS, int)}
    conversation_features = create_model(
        "ConversationFeatures", **{name: (kind, ...) for name, kind in types.items()}
    )

    class ConversionSynapse(bt.Synapse):
        features: conversation_features
        prediction: Optional[Prediction] = None
        confidence: Optional[StrictFloat] = None
        response_time: Optional[StrictFloat] = None
        miner_uid: Optional[int] = None

    return ConversionSynapse


def camel_synapse():
    """The synapse of later branches, which carries a key of its own."""

    class ConversionSynapse(bt.Synapse):
        features: Dict[str, Any]
        test_pk: str
        prediction: Optional[Dict[str, Any]] = None
        confidence: Optional[float] = None
        response_time: Optional[float] = None
        miner_uid: Optional[int] = None

    return ConversionSynapse


def plain_synapse():
    """The least that a miner must know."""

    class ConversionSynapse(bt.Synapse):
        features: Dict[str, Any]
        prediction: Optional[Dict[str, Any]] = None
        confidence: Optional[float] = None
        response_time: Optional[float] = None
        miner_uid: Optional[int] = None

    return ConversionSynapse


Snake = snake_synapse()
Camel = camel_synapse()
Plain = plain_synapse()


def camel_case(name):
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


def clipped(rng, mean, deviation, low, high):
    return round(min(high, max(low, rng.gauss(mean, deviation))), 3)


def conversation(seed):
    """A conversation like those of the rule challenges."""
    rng = random.Random(seed)
    duration = clipped(rng, 100, 20, 60, 150)
    total = int(clipped(rng, 8, 2, 4, 20))
    ratio = clipped(rng, 1.3, 0.3, 1, 2)
    users = math.floor(total / (1 + 1 / ratio))
    response = clipped(rng, 15, 2, 10, 20)
    hour, day = rng.randint(8, 19), rng.randint(0, 6)
    values = {name: 0.0 for name in FLOATS}
    values.update({name: 0 for name in INTS})
    values.update(
        session_id=f"{seed:08x}-0000-4000-8000-000000000000",
        conversation_duration_seconds=duration,
        conversation_duration_minutes=round(duration / 60, 4),
        hour_of_day=hour,
        day_of_week=day,
        is_business_hours=int(9 <= hour <= 17),
        is_weekend=int(day in (0, 6)),
        time_to_first_response_seconds=clipped(rng, 10, 3, 5, 20),
        avg_response_time_seconds=response,
        avg_agent_response_time_seconds=response,
        avg_user_response_time_seconds=response,
        max_response_time_seconds=clipped(rng, 18, 2.5, 15, 25),
        min_response_time_seconds=clipped(rng, 10, 2, 5, 15),
        total_messages=total,
        user_messages_count=users,
        agent_messages_count=total - users,
        message_ratio=ratio,
        messages_per_minute=round(total / (duration / 60), 4),
        avg_message_length_user=clipped(rng, 40, 5, 20, 60),
        avg_message_length_agent=clipped(rng, 75, 10, 50, 100),
        entities_collected_count=int(clipped(rng, 4, 1.5, 1, 6)),
        has_target_entity=rng.randint(0, 1),
        avg_entity_confidence=clipped(rng, 0.9, 0.02, 0.8, 0.95),
        min_entity_confidence=clipped(rng, 0.85, 0.03, 0.8, 0.9),
        message_alternation_rate=clipped(rng, 0.9, 0.1, 0.7, 1),
    )
    return values


def camel_conversation(seed):
    """The same as the data API sends it: 42 columns, text for numbers, and what is missing."""
    values = conversation(seed)
    test_pk = f"pk-{seed}"
    features = {camel_case(name): values[name] for name in FLOATS + INTS}
    features.update(
        timeToConversionSeconds=-1,
        timeToConversionMinutes=-1.0,
        sessionId=test_pk,
        testPk=test_pk,
        hourOfDay=-1,
        avgResponseTimeSeconds=math.nan,
        responseGapMax=-math.inf,
        totalMessages=str(values["total_messages"]),
        hasTargetEntity=bool(values["has_target_entity"]),
        avgEntityConfidence=None,
        somethingNew=[1, {"a": "\u00e9\u2603"}],
    )
    return test_pk, features


def empty_conversation(seed):
    """As most real conversations are: nothing was said."""
    values = {name: -1.0 for name in FLOATS}
    values.update({name: 0 for name in INTS})
    values.update(session_id=f"empty-{seed}", conversation_duration_seconds=float(seed % 3))
    values.update(messages_per_minute=4000.0, message_ratio=0.0)
    return values


def snake(seed):
    return Snake(features=conversation(seed) if seed % 4 else empty_conversation(seed))


def camel(seed):
    test_pk, features = camel_conversation(seed)
    return Camel(features=features, test_pk=test_pk)


def check_answer(synapse):
    """The validator's rule: anything else is a reward of 0."""
    prediction = synapse.prediction
    if isinstance(prediction, BaseModel):
        prediction = prediction.model_dump()
    assert set(prediction) == {"conversion_happened", "time_to_conversion_seconds"}, prediction
    happened = prediction["conversion_happened"]
    seconds = prediction["time_to_conversion_seconds"]
    assert type(happened) is int and happened in (0, 1), prediction
    assert type(seconds) is float and math.isfinite(seconds), prediction
    assert seconds > 0 if happened else seconds == -1.0, prediction
    assert type(synapse.confidence) is float and 0 <= synapse.confidence <= 1, synapse.confidence
    assert type(synapse.response_time) is float and 0 <= synapse.response_time < 60


def same_json(left, right):
    """Equality that takes NaN for equal to NaN and 1 for different from 1.0."""
    dumped = [
        json.dumps(value.model_dump() if isinstance(value, BaseModel) else value)
        for value in (left, right)
    ]
    assert dumped[0] == dumped[1], dumped
