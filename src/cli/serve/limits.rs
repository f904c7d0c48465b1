//! How much callers may take, as flags.

use std::time::Duration;

use crate::serve::limits::{ConnectionLimits, Rate};
use crate::serve::{ConnectionTimes, ServeConfig};

/// How much callers may take.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// Requests that are worked on at a time
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = positive)]
    max_concurrent: usize,
    /// Requests that may wait for their turn, those of higher stake first; more are refused with 503
    #[arg(long, value_name = "COUNT", default_value_t = 1024)]
    max_queue: usize,
    /// Connections at a time; a quarter is kept for addresses from which a request was signed lately
    #[arg(long, value_name = "COUNT", default_value_t = 8192, value_parser = positive)]
    max_connections: usize,
    /// Connections at a time from one address
    #[arg(long, value_name = "COUNT", default_value_t = 512, value_parser = positive)]
    max_connections_per_ip: usize,
    /// Requests a second that a verified hotkey may send; 0 for no limit
    #[arg(long = "rate-limit.hotkey", value_name = "RATE", default_value_t = 1000.0,
          value_parser = rate)]
    rate_limit_hotkey: f64,
    /// Requests a second that an address may send without one that is signed; 0 for no limit
    #[arg(long = "rate-limit.ip", value_name = "RATE", default_value_t = 20.0, value_parser = rate)]
    rate_limit_ip: f64,
    /// Bytes of a body
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 10, value_parser = positive)]
    body_limit: usize,
    /// Seconds for a request's headers, and for the pause between two requests
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0, value_parser = seconds)]
    header_timeout: f64,
    /// Seconds for a request's body
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    body_timeout: f64,
    /// Seconds until a client takes some of its answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    write_timeout: f64,
}

impl LimitArgs {
    /// Sets the limits of an axon.
    pub(super) fn apply(&self, config: ServeConfig) -> ServeConfig {
        ServeConfig {
            max_concurrent: self.max_concurrent,
            max_queue: self.max_queue,
            connections: ConnectionLimits {
                total: self.max_connections,
                per_address: self.max_connections_per_ip,
            },
            hotkey_rate: Rate::new(self.rate_limit_hotkey),
            address_rate: Rate::new(self.rate_limit_ip),
            body_limit_bytes: self.body_limit,
            times: ConnectionTimes {
                headers: Duration::from_secs_f64(self.header_timeout),
                write: Duration::from_secs_f64(self.write_timeout),
            },
            body_time: Duration::from_secs_f64(self.body_timeout),
            ..config
        }
    }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("expected a whole number of 1 or more".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate == 0.0 || (0.001..=1e9).contains(&rate) => Ok(rate),
        _ => Err("expected a number of requests a second, 0.001 or more, or 0".to_owned()),
    }
}

/// Up to a day: what lasts longer is no limit.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.001..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number of seconds between 0.001 and 86400".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::chain::Keypair;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        limits: LimitArgs,
    }

    #[test]
    fn the_flags_defaults_are_the_librarys() {
        let line = Line::try_parse_from(["serve"]).unwrap();
        let config = ServeConfig::new(Keypair::generate());
        let before = format!("{config:?}");
        assert_eq!(format!("{:?}", line.limits.apply(config)), before);
    }

    #[test]
    fn senseless_limits_are_refused() {
        for bad in [
            "--max-concurrent=0",
            "--max-connections=-1",
            "--rate-limit.ip=-1",
            "--rate-limit.ip=1e-30",
            "--rate-limit.hotkey=NaN",
            "--header-timeout=0",
            "--body-timeout=inf",
            "--body-limit=0",
        ] {
            assert!(Line::try_parse_from(["serve", bad]).is_err(), "{bad}");
        }
        assert!(Line::try_parse_from(["serve", "--rate-limit.ip=0", "--max-queue=0"]).is_ok());
    }
}
