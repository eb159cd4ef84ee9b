//! Runs are rolled back newest first: what a later run did stands on what an earlier one did. After the old
//! token was revoked, going back to it would lock the service out; and a file that two rotations edited
//! goes back as a whole.

use crate::engine::log::kept_of;
use crate::engine::rollback::{self, Chosen, Wanted};
use crate::run::history::State;
use crate::run::record::Kept;
use crate::run::store::{Store, Stored};
use crate::secret::{Error, Identities};

use super::run_log;

/// Whether a later run on one of the same hosts stands: of the same playbook, or one that changed one of the
/// files that are to go back.
///
/// # Errors
/// One does; which, and what is left to do.
pub fn check(store: &Store, run: &Stored, chosen: &[Chosen], identities: &Identities) -> Result<(), Error> {
    let playbooks = |run: &Stored| run.history.begun.as_ref().map(|begun| begun.playbooks.clone());
    let own = rollback::files_of(chosen.iter().map(Chosen::kept));
    let is_later = |later: &Stored| {
        later.id > run.id
            && !later.history.steps.is_empty()
            && later.history.hosts.iter().any(|host| run.history.hosts.contains(host))
    };
    // The newest first: it is what has to go back first.
    for later in store.all().iter().rev().filter(|later| is_later(later)) {
        let seal = run_log::seal_of(later, identities);
        let what = match (playbooks(later) == playbooks(run), &seal) {
            (true, _) => "the same playbook".to_string(),
            // What nobody can tell of it, or take back, shows when the files are looked at.
            (false, Err(_)) => continue,
            (false, Ok(_)) if later.state() == State::Abandoned => continue,
            (false, Ok(seal)) => {
                let kept: Vec<Kept> =
                    later.history.steps.iter().flat_map(|step| kept_of(seal, step)).collect();
                let files = rollback::files_of(&kept);
                let Some((_, path)) = files.intersection(&own).next() else { continue };
                let names = playbooks(later).unwrap_or_default().join(", ");
                format!("{names}, which changed {path} too,")
            }
        };
        let stands = match rollback::choose(&seal?, &later.history, &Wanted::default()) {
            Ok(chosen) if chosen.iter().any(Chosen::is_change) => String::new(),
            Ok(_) => continue,
            Err(why) => format!(", and {}", why.message),
        };
        let (id, at) = (&later.id, &later.history.last_at);
        return Err(Error::refused(format!("run {id} of {what} came after it ({at}) and stands{stands}")).help(
            format!(
                "roll that one back first, if it can be: `seqn-play rollback {id}`. --despite-later goes back all the \
                 same: make sure that nothing of what comes back was given up meanwhile"
            ),
        ));
    }
    Ok(())
}
