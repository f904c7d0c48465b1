//! An error and its causes in one line, for a warning or a table.

use std::error::Error;

/// The error's message and those of its causes, joined by colons.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_told() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::fmt::Error);
        let inner = std::fmt::Error.to_string();
        assert_eq!(with_causes(&Outer(std::fmt::Error)), format!("outer: {inner}"));
        assert_eq!(with_causes(&std::fmt::Error), inner);
    }
}
