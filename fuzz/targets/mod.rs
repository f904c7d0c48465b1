//! One file a target. Each takes any bytes, and panics when something is wrong.

pub(crate) mod body;
pub(crate) mod checkpoint;
pub(crate) mod headers;
pub(crate) mod metagraph;
pub(crate) mod nonces;
pub(crate) mod signature;
pub(crate) mod ss58;
pub(crate) mod state;
pub(crate) mod table;

use convminer::features::Conversation;
use convminer::subnet::schema::FEATURE_COUNT;
use tempfile::TempDir;

/// A new folder; run.sh has temporary ones in memory, and clears them away.
fn folder() -> TempDir {
    let named = tempfile::Builder::new().prefix("convminer-fuzz-").tempdir();
    named.expect("a temporary folder can be made")
}

/// A conversation that keeps its promise: each value is finite or missing.
fn assert_sound(conversation: &Conversation) {
    let sound = conversation.values.iter().all(|value| value.is_finite() || value.is_nan());
    assert!(sound, "an infinite value got through: {conversation:?}");
}

/// Conversations of all kinds: nothing known, all the same, alternating, huge.
fn conversations() -> [Conversation; 5] {
    let of = |value: fn(usize) -> f64| {
        let mut conversation = Conversation::EMPTY;
        for index in 0..FEATURE_COUNT {
            conversation.set(index, value(index));
        }
        conversation
    };
    [
        Conversation::EMPTY,
        of(|_| 0.0),
        of(|index| index as f64),
        of(|index| if index % 2 == 0 { f64::NAN } else { -1.0 }),
        of(|index| if index % 3 == 0 { 3e38 } else { -3e38 }),
    ]
}
