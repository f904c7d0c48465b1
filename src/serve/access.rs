//! Who may call.

use std::collections::HashSet;
use std::sync::Arc;

use crate::chain::Metagraph;

use super::live::Live;

/// The rules that a caller's hotkey must pass.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Who is registered. `None` when no metagraph is known.
    pub metagraph: Option<Arc<Live<Metagraph>>>,
    /// Hotkeys that may never call, whatever else is so.
    pub blacklist: HashSet<String>,
    /// Hotkeys that may always call, registered or not, whatever they hold; a blacklist goes first.
    pub whitelist: HashSet<String>,
    /// Whether hotkeys that are not registered may call too. They count as holding no stake and no
    /// permit. Off: only hotkeys of the metagraph may call.
    pub allow_unregistered: bool,
    /// The least stake that a caller must hold. 0 asks for none.
    pub min_stake: f64,
    /// Whether a caller must hold a validator permit.
    pub require_permit: bool,
}

/// Why a caller is turned away.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Forbidden {
    /// The request names no hotkey.
    #[error("missing hotkey")]
    Nobody,
    /// The operator does not want it.
    #[error("the hotkey is on this axon's blacklist")]
    Blacklisted,
    /// The hotkey is not in the metagraph.
    #[error("the hotkey is not registered")]
    Unregistered,
    /// The hotkey may not validate.
    #[error("the hotkey holds no validator permit")]
    NoPermit,
    /// The hotkey holds too little.
    #[error("the hotkey should hold a stake of at least {least}, but holds {stake}")]
    Stake {
        /// What is asked for.
        least: f64,
        /// What it holds.
        stake: f64,
    },
}

impl Access {
    /// Whether the caller with this hotkey may go on to be verified; if so, its stake.
    pub fn check(&self, hotkey: Option<&str>) -> Result<f64, Forbidden> {
        let hotkey = hotkey.ok_or(Forbidden::Nobody)?;
        if self.blacklist.contains(hotkey) {
            return Err(Forbidden::Blacklisted);
        }
        let metagraph = self.metagraph.as_ref().map(|live| live.current());
        let neuron = metagraph.as_ref().and_then(|metagraph| metagraph.get(hotkey));
        let stake = neuron.map_or(0.0, |neuron| neuron.stake);
        if self.whitelist.contains(hotkey) {
            return Ok(stake);
        }
        if neuron.is_none() && !self.allow_unregistered {
            return Err(Forbidden::Unregistered);
        }
        if self.require_permit && !neuron.is_some_and(|neuron| neuron.validator_permit) {
            return Err(Forbidden::NoPermit);
        }
        if stake < self.min_stake {
            return Err(Forbidden::Stake { least: self.min_stake, stake });
        }
        Ok(stake)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::metagraph::Neuron;

    #[test]
    fn rules_add_up() {
        let neuron = |uid, hotkey: &str, stake, validator_permit| Neuron {
            uid,
            hotkey: hotkey.to_owned(),
            stake,
            validator_permit,
        };
        let known: Metagraph =
            [neuron(0, "rich", 5000.0, true), neuron(1, "poor", 1.0, false)].into_iter().collect();
        let strict =
            Access { metagraph: Some(Arc::new(Live::fixed(Arc::new(known)))), ..Access::default() };
        let open = Access { allow_unregistered: true, ..strict.clone() };
        let permit = |access: &Access| Access { require_permit: true, ..access.clone() };
        let stake = |access: &Access| Access { min_stake: 1000.0, ..access.clone() };
        let named = |name: &str| HashSet::from([name.to_owned()]);
        let listed = Access { whitelist: named("nobody"), ..permit(&stake(&strict)) };
        let unwanted =
            Access { blacklist: named("rich"), whitelist: named("rich"), ..open.clone() };
        let too_little = |held| Some(Forbidden::Stake { least: 1000.0, stake: held });
        for (access, hotkey, expected, why) in [
            (strict.clone(), Some("poor"), None, "registered"),
            (strict.clone(), Some("nobody"), Some(Forbidden::Unregistered), "not registered"),
            (strict.clone(), None, Some(Forbidden::Nobody), "no hotkey"),
            (open.clone(), None, Some(Forbidden::Nobody), "no hotkey, though open"),
            (open.clone(), Some("nobody"), None, "open"),
            (permit(&strict), Some("rich"), None, "permit"),
            (permit(&strict), Some("poor"), Some(Forbidden::NoPermit), "no permit"),
            (permit(&open), Some("nobody"), Some(Forbidden::NoPermit), "open, no permit"),
            (stake(&strict), Some("rich"), None, "stake"),
            (stake(&strict), Some("poor"), too_little(1.0), "too little"),
            (stake(&open), Some("nobody"), too_little(0.0), "open, none"),
            (listed.clone(), Some("nobody"), None, "on the whitelist"),
            (listed, Some("poor"), Some(Forbidden::NoPermit), "not on the whitelist"),
            (unwanted.clone(), Some("rich"), Some(Forbidden::Blacklisted), "on both lists"),
            (unwanted, Some("poor"), None, "not on the blacklist"),
            (Access::default(), Some("rich"), Some(Forbidden::Unregistered), "no metagraph"),
        ] {
            assert_eq!(access.check(hotkey).err(), expected, "{why}");
        }
        assert_eq!(open.check(Some("rich")), Ok(5000.0));
        assert_eq!(open.check(Some("nobody")), Ok(0.0));
    }
}
