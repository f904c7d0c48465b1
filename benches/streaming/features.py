"""The model's inputs by name: what `src/features/engineer.rs` makes of a conversation.

`with_pandas` and `with_polars` say how each is computed; `check` holds both to convminer's numbers.
"""

FEATURES = (
    "conversation_duration_seconds",
    "conversation_duration_minutes",
    "hour_of_day",
    "day_of_week",
    "is_business_hours",
    "is_weekend",
    "time_to_first_response_seconds",
    "avg_response_time_seconds",
    "max_response_time_seconds",
    "min_response_time_seconds",
    "avg_agent_response_time_seconds",
    "avg_user_response_time_seconds",
    "response_time_stddev",
    "response_gap_max",
    "messages_per_minute",
    "total_messages",
    "user_messages_count",
    "agent_messages_count",
    "message_ratio",
    "avg_message_length_user",
    "max_message_length_user",
    "min_message_length_user",
    "total_chars_from_user",
    "avg_message_length_agent",
    "max_message_length_agent",
    "min_message_length_agent",
    "total_chars_from_agent",
    "question_count_agent",
    "questions_per_agent_message",
    "question_count_user",
    "questions_per_user_message",
    "sequential_user_messages",
    "sequential_agent_messages",
    "entities_collected_count",
    "has_target_entity",
    "avg_entity_confidence",
    "min_entity_confidence",
    "entity_collection_rate",
    "repeated_questions",
    "message_alternation_rate",
)

# Where -1 stands for "not available".
MINUS_ONE_IS_MISSING = (
    "hour_of_day",
    "day_of_week",
    "time_to_first_response_seconds",
    "avg_response_time_seconds",
    "max_response_time_seconds",
    "min_response_time_seconds",
    "avg_agent_response_time_seconds",
    "avg_user_response_time_seconds",
    "response_time_stddev",
    "response_gap_max",
    "avg_entity_confidence",
    "min_entity_confidence",
)

# One value over another that counts as at least 1: a name, what is above, what is below.
RATIOS = (
    ("agent_user_message_ratio", "agent_messages_count", "user_messages_count"),
    ("message_length_ratio", "avg_message_length_agent", "avg_message_length_user"),
    ("question_density_agent", "question_count_agent", "agent_messages_count"),
    ("question_density_user", "question_count_user", "user_messages_count"),
    ("seconds_per_message", "conversation_duration_seconds", "total_messages"),
    ("entities_per_message", "entities_collected_count", "total_messages"),
)

# The sine and the cosine of a place on a circle: a prefix, the feature, the period.
CYCLES = (("hour", "hour_of_day", 24.0), ("day", "day_of_week", 7.0))

# ln(1 + x), odd around 0.
LOGARITHMS = (
    "conversation_duration_seconds",
    "messages_per_minute",
    "total_messages",
    "message_ratio",
    "total_chars_from_user",
    "total_chars_from_agent",
    "time_to_first_response_seconds",
    "max_response_time_seconds",
)

# In the order of convminer's inputs.
DERIVED = (
    "agent_user_message_ratio",
    "message_length_ratio",
    "question_density_agent",
    "question_density_user",
    "hour_sin",
    "hour_cos",
    "day_sin",
    "day_cos",
    *(f"log_{name}" for name in LOGARITHMS),
    "waiting_share_longest",
    "waiting_share_total",
    "seconds_per_message",
    "entities_per_message",
    "entities_with_target",
    "coverage",
)

INPUTS = (*FEATURES, *(f"missing:{name}" for name in FEATURES), *DERIVED)

# How far from its mean a scaled input may lie, in deviations.
LIMIT = 8.0
