//! The names of the methods.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A way to calibrate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// No calibration.
    #[serde(rename = "none")]
    Identity,
    /// Temperature scaling.
    Temperature,
    /// Platt scaling.
    Platt,
    /// Beta calibration.
    Beta,
    /// Bins of equal width.
    Bins,
    /// Isotonic regression.
    Isotonic,
}

/// There is no method of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a calibration method, one of `none`, `temperature`, `platt`, `beta`, `bins` and \
     `isotonic`, but found `{0}`"
)]
pub struct UnknownMethod(
    /// What was found.
    pub String,
);

impl Method {
    /// Every method, the one with the fewest free numbers first: 0, 1, 2, 3, one a bin, and as many
    /// as the rows ask for.
    pub const ALL: [Method; 6] = [
        Method::Identity,
        Method::Temperature,
        Method::Platt,
        Method::Beta,
        Method::Bins,
        Method::Isotonic,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Identity => "none",
            Method::Temperature => "temperature",
            Method::Platt => "platt",
            Method::Beta => "beta",
            Method::Bins => "bins",
            Method::Isotonic => "isotonic",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let mut all = Method::ALL.into_iter();
        all.find(|method| method.as_str() == name).ok_or_else(|| UnknownMethod(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_everywhere() {
        for method in Method::ALL {
            assert_eq!(method.to_string().parse(), Ok(method));
            assert_eq!(serde_json::to_value(method).unwrap(), method.as_str());
            let message = UnknownMethod("x".to_owned()).to_string();
            assert!(message.contains(&format!("`{method}`")), "{message}");
        }
        assert!("Platt".parse::<Method>().is_err());
    }
}
