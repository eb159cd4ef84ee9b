//! Runs are rolled back newest first: what a later run of the same playbook did stands on what an
//! earlier one did. After the old token was revoked, going back to it would lock the service out.

use crate::engine::rollback::{self, Wanted};
use crate::run::store::{Store, Stored};
use crate::secret::{Error, Identities};

use super::run_log;

/// Whether a later run of the same playbook on one of the same hosts stands.
///
/// # Errors
/// One does; which, and what is left to do.
pub fn check(store: &Store, run: &Stored, identities: &Identities) -> Result<(), Error> {
    let playbooks = |run: &Stored| run.history.begun.as_ref().map(|begun| begun.playbooks.clone());
    let same = |later: &Stored| {
        later.id > run.id
            && playbooks(later) == playbooks(run)
            && later.history.hosts.iter().any(|host| run.history.hosts.contains(host))
    };
    // The newest first: it is what has to go back first.
    for later in store.all().iter().rev().filter(|later| same(later)) {
        let seal = run_log::seal_of(later, identities)?;
        let stands = match rollback::choose(&seal, &later.history, &Wanted::default()) {
            Ok(chosen) if chosen.iter().any(rollback::Chosen::is_change) => String::new(),
            Ok(_) => continue,
            Err(why) => format!(", and {}", why.message),
        };
        let (id, at) = (&later.id, &later.history.last_at);
        return Err(Error::refused(format!(
            "run {id} of the same playbook came after it ({at}) and stands{stands}"
        ))
        .help(format!(
            "roll that one back first, if it can be: `seqn-play rollback {id}`. --despite-later goes back all the same: \
             make sure that nothing of what comes back was given up meanwhile"
        )));
    }
    Ok(())
}
