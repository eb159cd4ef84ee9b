//! Runs are rolled back newest first: what a later run did stands on what an earlier one did. After the old
//! token was revoked, going back to it would lock the service out; and a file that two rotations edited
//! goes back as a whole.

use crate::engine::rollback::{self, Wanted};
use crate::run::store::{Store, Stored};
use crate::secret::{Error, Identities};

use super::run_log;

/// Whether a later run on one of the same hosts stands: of the same playbook, or one that changed one of the
/// same files.
///
/// # Errors
/// One does; which, and what is left to do.
pub fn check(store: &Store, run: &Stored, identities: &Identities) -> Result<(), Error> {
    let playbooks = |run: &Stored| run.history.begun.as_ref().map(|begun| begun.playbooks.clone());
    let failed = |why: crate::module::Failure| Error::refused(why.message);
    let own = rollback::files_of(&run_log::seal_of(run, identities)?, &run.history).map_err(failed)?;
    let is_later = |later: &Stored| {
        later.id > run.id && later.history.hosts.iter().any(|host| run.history.hosts.contains(host))
    };
    // The newest first: it is what has to go back first.
    for later in store.all().iter().rev().filter(|later| is_later(later)) {
        let seal = run_log::seal_of(later, identities);
        let what = match (playbooks(later) == playbooks(run), &seal) {
            (true, _) => "the same playbook".to_string(),
            // What it kept nothing of shows when the files are looked at.
            (false, Err(_)) => continue,
            (false, Ok(seal)) => {
                let files = rollback::files_of(seal, &later.history).map_err(failed)?;
                let Some((_, path)) = files.intersection(&own).next() else { continue };
                let names = playbooks(later).unwrap_or_default().join(", ");
                format!("{names}, which changed {path} too,")
            }
        };
        let stands = match rollback::choose(&seal?, &later.history, &Wanted::default()) {
            Ok(chosen) if chosen.iter().any(rollback::Chosen::is_change) => String::new(),
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
