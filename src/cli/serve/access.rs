//! Who may call, from the flags.

use std::path::Path;
use std::sync::Arc;

use super::ServeArgs;
use crate::chain::Metagraph;
use crate::chain::metagraph::MetagraphError;
use crate::cli::printer::Printer;
use crate::serve::access::Access;
use crate::serve::live::Live;

/// Who may call.
pub(super) fn access(args: &ServeArgs, printer: &Printer) -> anyhow::Result<Access> {
    let metagraph = args.metagraph.as_deref().map(follow).transpose()?;
    let access = Access {
        metagraph,
        allow_unregistered: args.allow_unregistered,
        min_stake: args.min_stake,
        require_permit: args.require_permit,
        blacklist: args.blacklist_hotkeys.iter().cloned().collect(),
        whitelist: args.whitelist_hotkeys.iter().cloned().collect(),
    };
    let known = access.metagraph.as_ref().map_or(0, |live| live.current().len());
    match known {
        1.. => printer.note(format_args!("{known} hotkeys are registered")),
        _ if !access.whitelist.is_empty() => {
            printer.note("no hotkey is known but those of the whitelist");
        }
        _ if !access.allow_unregistered => printer.warn(
            "no hotkey is known, so every caller is refused with 403: name those that may call \
             with --metagraph, or let anybody call with --allow-unregistered",
        ),
        _ if access.require_permit || access.min_stake > 0.0 => printer.warn(
            "no hotkey is known, so no caller holds stake or a permit and every one is refused \
             with 403: name those that do with --metagraph",
        ),
        _ => printer.warn("anybody may call: --allow-unregistered is on and there is no metagraph"),
    }
    Ok(access)
}

/// The metagraph of a file that is taken up anew when it is replaced.
fn follow(path: &Path) -> Result<Arc<Live<Metagraph>>, MetagraphError> {
    let (watched, read) = (path.to_owned(), path.to_owned());
    let load = move |_: Option<&Arc<Metagraph>>| Metagraph::read(&read).map(Arc::new);
    Live::load(move || vec![watched.clone()], load).map(Arc::new)
}
