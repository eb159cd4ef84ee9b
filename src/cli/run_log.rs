//! Keeping a run: who, why, where; and finding one again to go on with it or back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::engine::locks::Locking;
use crate::module::control::Console;
use crate::remote::Holder;
use crate::remote::shell::token;
use crate::report::Paint;
use crate::run::history::{History, State};
use crate::run::journal::Sync;
use crate::run::record::{Begun, FORMAT, Record};
use crate::run::recorder::{Recorder, now};
use crate::run::seal::Seal;
use crate::run::store::{Held, PROJECT_FOLDER, Store, Stored};
use crate::secret::identities::{self, Identities};
use crate::secret::recipients::{self, Recipients};
use crate::secret::{Error, edit};
use crate::source::Diagnostics;

use super::setup::{self, Outputs, env};
use super::told::Told;

/// Flags about who runs something and where that is kept.
#[derive(Debug, Clone, Default, Args)]
pub struct RunFlags {
    /// Where runs are kept, instead of `.seqn-play/runs`
    #[arg(long, value_name = "FOLDER")]
    pub run_dir: Option<PathBuf>,
    /// Why this is done, for the journal and the note
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Where a copy of the note goes, beside the one in the run's folder
    #[arg(long, value_name = "DIR")]
    pub note_dir: Option<PathBuf>,
    /// Who does it; by default git's user.name, else the login
    #[arg(long, value_name = "NAME")]
    pub actor: Option<String>,
    /// What locks on hosts are named after, instead of the project's folder
    #[arg(long, value_name = "NAME")]
    pub project: Option<String>,
    /// Wait so long for a host that another run has locked
    #[arg(long, value_name = "SECONDS")]
    pub wait_lock: Option<u64>,
    /// Take over the lock of a run that is provably dead
    #[arg(long)]
    pub break_lock: bool,
}

impl RunFlags {
    /// How the hosts of a run are locked.
    pub fn locking(&self, cwd: &Path, run: &str) -> Locking {
        let store = self.store(cwd);
        let own = store.folder().ancestors().find(|dir| dir.ends_with(PROJECT_FOLDER)).and_then(Path::parent);
        let named = own.unwrap_or(cwd).file_name().map(|name| name.to_string_lossy().into_owned());
        let (who, from) = self.actor_and_machine();
        Locking {
            project: self.project.clone().or(named).unwrap_or_else(|| "project".into()),
            holder: Holder { run: run.to_string(), who, from, program: token() },
            wait: self.wait_lock.map(Duration::from_secs),
            break_dead: self.break_lock,
            // Nobody else holds the run on this machine.
            own: true,
            runs: store,
        }
    }

    pub fn store(&self, cwd: &Path) -> Store {
        let given = self.run_dir.clone().or_else(|| env("SEQN_PLAY_RUN_DIR").map(PathBuf::from));
        Store::of(cwd, given.as_deref())
    }

    /// `Ann Operator (ann@laptop)`.
    pub fn actor(&self) -> String {
        let (who, from) = self.actor_and_machine();
        format!("{who} ({from})")
    }

    fn actor_and_machine(&self) -> (String, String) {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let login = env("USER").or_else(|| env("LOGNAME")).or_else(ssh_key_comment).unwrap_or_else(|| {
            // SAFETY: geteuid has no preconditions and can't fail.
            format!("uid {}", unsafe { libc::geteuid() })
        });
        let from = format!("{login}@{}", host.trim());
        (self.actor.clone().or_else(git_user).unwrap_or(login), from)
    }
}

/// Whose key it is, where nothing else says who somebody is (a service, a container).
fn ssh_key_comment() -> Option<String> {
    let folder = PathBuf::from(env("HOME")?).join(".ssh");
    ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"].iter().find_map(|name| {
        let key = std::fs::read_to_string(folder.join(name)).ok()?;
        let comment = key.trim().splitn(3, ' ').nth(2)?;
        Some(comment.chars().filter(|c| !c.is_control()).collect::<String>()).filter(|c| !c.is_empty())
    })
}

fn git_user() -> Option<String> {
    let asked = std::process::Command::new("git")
        .args(["config", "--get", "user.name"])
        .stderr(std::process::Stdio::null())
        .output()
        .ok()?;
    let name = String::from_utf8(asked.stdout).ok()?;
    Some(name.trim().to_string()).filter(|name| !name.is_empty())
}

/// A run that this program writes.
pub struct Open {
    pub recorder: Recorder,
    pub past: Option<History>,
    /// Nobody else goes on with it while this is held.
    pub held: Held,
}

impl Open {
    /// Writes down that somebody goes on.
    ///
    /// # Errors
    /// The journal can't be written.
    pub fn go_on(&mut self, by: String) -> Result<(), Error> {
        let record = Record::Continued { at: now(), by, back: false };
        self.recorder.write(&record, Sync::Now)?;
        if let Some(past) = &mut self.past {
            past.add(record);
        }
        Ok(())
    }
}

/// What a new run is.
pub struct New<'a> {
    pub flags: &'a RunFlags,
    pub cwd: &'a Path,
    /// As typed, without the program's name.
    pub command: &'a [String],
    pub playbooks: Vec<String>,
    pub inventory: Vec<String>,
    pub sources: std::collections::BTreeMap<String, String>,
    /// Hosts that its plays name.
    pub hosts: Vec<String>,
    pub identities: &'a Identities,
    /// Who else is told.
    pub told: &'a Told,
}

/// Begins a run: nobody left one unfinished on these hosts, and what must be kept can be.
///
/// # Errors
/// An unfinished run stands in the way, or nothing can be kept.
pub fn begin(new: &New<'_>, outputs: &Outputs) -> Result<Open, Diagnostics> {
    let wrong = |e: Error| setup::problem("run", &e);
    let store = new.flags.store(new.cwd);
    if let Some(other) = store.unsettled(&new.playbooks).iter().find(|other| stands_in_the_way(other, new)) {
        return Err(wrong(blocked_by(other)));
    }
    let recipients = recipients_for(new.cwd, new.identities, outputs).map_err(wrong)?;
    let (seal, key) = match &recipients {
        Some(recipients) => {
            Seal::new(recipients).map(|(seal, kept)| (Some(seal), Some(kept))).map_err(wrong)?
        }
        None => (None, None),
    };
    let (held, journal) = store.begin().map_err(wrong)?;
    let recorder = Recorder::new(held.id.clone(), journal, seal).audited(store.audit(), None);
    let begun = Begun {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").into(),
        run: held.id.clone(),
        at: now(),
        by: new.flags.actor(),
        reason: new.flags.reason.clone(),
        playbooks: new.playbooks.clone(),
        inventory: new.inventory.clone(),
        cwd: new.cwd.display().to_string(),
        command: recorder.seal(&new.command).map_err(wrong)?,
        key,
        recipients: recipients
            .iter()
            .flat_map(|r| r.to_lines().lines().map(String::from).collect::<Vec<_>>())
            .collect(),
        sources: new.sources.clone(),
        hosts: new.hosts.clone(),
        told: recorder.seal(new.told).map_err(wrong)?,
    };
    recorder.write(&Record::Begun(Box::new(begun)), Sync::Later).map_err(wrong)?;
    Ok(Open { recorder, past: None, held })
}

/// Opens a run to go on with it, or back.
///
/// # Errors
/// It is running, damaged, at its end, or can't be opened with these identities.
pub fn reopen(store: &Store, run: Stored, back: bool, identities: &Identities) -> Result<Open, Error> {
    let refused = |what: &str| Error::refused(format!("run {} {what}", run.id));
    match run.state() {
        _ if run.alive => {}
        State::Finished if !back => return Err(refused("came to its end; there is nothing to go on with")),
        State::RolledBack => return Err(refused("was rolled back; nothing of it stands")),
        State::HalfRolledBack if !back => {
            return Err(refused("is half rolled back, so it can't be gone on with")
                .help(format!("`seqn-play rollback {}` goes on with that", run.id)));
        }
        State::Abandoned => return Err(refused("was abandoned")),
        _ => {}
    }
    let (held, journal) = store.hold(&run)?;
    let seal = seal_of(&run, identities)?;
    let begun = run.history.begun.as_deref();
    let recorder = Recorder::new(run.id.clone(), journal, Some(seal)).audited(store.audit(), begun);
    Ok(Open { recorder, past: Some(run.history), held })
}

/// What opens the values of a run.
///
/// # Errors
/// Nothing was kept, or it opens for somebody else.
pub fn seal_of(run: &Stored, identities: &Identities) -> Result<Seal, Error> {
    let damaged = || Error::damaged(format!("the journal of run {} has no beginning", run.id));
    let begun = run.history.begun.as_ref().ok_or_else(damaged)?;
    if begun.format > FORMAT {
        let message = format!(
            "run {} was written by seqn-play {}, in a format that this version doesn't know ({} after {FORMAT})",
            run.id, begun.version, begun.format
        );
        return Err(Error::refused(message).help("use that version, or a later one"));
    }
    let Some(key) = &begun.key else {
        let message = format!(
            "run {} kept nothing that is needed to go on with it or back: there was no age identity then",
            run.id
        );
        return Err(Error::refused(message).help(
            "look at what it did with `seqn-play runs show`; make an identity for the next one: `seqn-play secret keygen`",
        ));
    };
    Seal::open(key, identities).map_err(|e| {
        Error::no_key(format!("run {} can't be opened: {}", run.id, e.message)).help(format!(
            "it opens for {}; give that identity with --age-identity FILE",
            begun.recipients.join(", ")
        ))
    })
}

fn stands_in_the_way(other: &Stored, new: &New<'_>) -> bool {
    let same_hosts = other.history.hosts.iter().any(|h| new.hosts.contains(h));
    same_hosts && (other.alive || other.history.is_open())
}

fn blocked_by(other: &Stored) -> Error {
    let id = &other.id;
    let hosts = other.history.hosts.join(", ");
    if other.alive {
        return Error::refused(format!("run {id} of this playbook is going on now on {hosts}"))
            .help("wait for its end, or stop it with Ctrl-C where it runs");
    }
    let at =
        other.history.unfinished().last().map(|s| format!(", at `{}`", s.intent.label)).unwrap_or_default();
    Error::refused(format!(
        "run {id} of this playbook on {hosts} is unfinished ({} {}{at})",
        other.word(),
        other.history.last_at
    ))
    .help(format!(
        "`seqn-play resume {id}` goes on with it, `seqn-play rollback {id}` goes back, \
         `seqn-play runs abandon {id} --reason TEXT` leaves it as it is"
    ))
}

/// To whom a run is encrypted: the nearest `.age-recipients`, else the operator; made now where
/// there is somebody to ask. `None`: nobody.
fn recipients_for(cwd: &Path, own: &Identities, outputs: &Outputs) -> Result<Option<Recipients>, Error> {
    if let Some(file) = recipients::nearest(&cwd.join("run")) {
        return Recipients::from_file(&file).map(Some);
    }
    let keys = own.recipients();
    if !keys.is_empty() {
        return Recipients::parse(keys.iter().map(String::as_str)).map(Some);
    }
    let Some(path) = identities::default_path(&env).filter(|path| !path.exists()) else { return Ok(None) };
    let question = format!(
        "To go on with a run after a crash, or to take it back, secrets must be kept, encrypted to you; but you have no \
         age identity yet.\nMake one in {}? (It is the only key to your runs: keep a copy of it where you keep your \
         other keys.) [Y/n]: ",
        path.display()
    );
    match outputs.console().ask_now(&question, true).as_deref().map(str::trim) {
        Some("" | "y" | "Y" | "yes") => {
            let public = edit::keygen(&path)?;
            outputs.screen.line(Paint::Plain, &format!("made: {} (public key {public})", path.display()));
            Recipients::parse([public.as_str()]).map(Some)
        }
        _ => {
            outputs.screen.error_line(
                Paint::Warning,
                "[WARNING]: no age identity: nothing secret is kept of this run, so it can't be resumed or rolled back. \
                 `seqn-play secret keygen` makes one.",
            );
            Ok(None)
        }
    }
}
