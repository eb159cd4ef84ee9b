//! Who is told of a run beside the terminal: the folder of notes and the hooks, from flags and from
//! variables of the inventory.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::report::Note;
use crate::report::facts::{Facts, Scope, What};
use crate::report::hooks::{Hook, Hooks};
use crate::run::record::Begun;
use crate::run::recorder::Recorder;
use crate::run::seal::Seal;
use crate::run::store::Store;
use crate::secret::Error;
use crate::source::{Diagnostic, Diagnostics, Val, args};

use super::session::Session;
use super::setup::Outputs;

const NOTE_DIR: &str = "seqn_play_note_dir";
const NOTIFY: &str = "seqn_play_notify";

/// Kept with a run, encrypted: a rollback reads no inventory.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Told {
    note_dir: Option<PathBuf>,
    notify: Vec<Hook>,
}

impl Told {
    /// # Errors
    /// A variable isn't what it must be.
    pub fn of(
        session: &Session,
        note_dir: Option<&Path>,
        cwd: &Path,
        outputs: &Outputs,
    ) -> Result<Told, Diagnostics> {
        let wrong = |name: &str, why: String| {
            let mut problem =
                Diagnostic::global("notify", format!("the variable {name} can't be used: {why}"));
            problem.help = (name == NOTIFY).then(|| {
                "a list of maps: `command: [PROGRAM, ARGUMENT…]` or `url: https://…`, and if wanted `on: [start, success, failure]`"
                    .into()
            });
            Diagnostics(vec![problem])
        };
        let variable = |name: &str| {
            let values = session.variable(name).map_err(|why| wrong(name, why))?;
            Ok::<_, Diagnostics>(values.into_iter().next())
        };
        let named = variable(NOTE_DIR)?.map(|dir| PathBuf::from(dir.key_text()));
        let notify = match variable(NOTIFY)? {
            None => Vec::new(),
            Some(given) => {
                outputs.redactor.register_val(&given);
                hooks(&given).map_err(|why| wrong(NOTIFY, why))?
            }
        };
        let note_dir = note_dir.map(Path::to_path_buf).or(named).map(|dir| cwd.join(dir));
        Ok(Told { note_dir, notify })
    }

    /// As the run that begun is kept says.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn kept(begun: Option<&Begun>, seal: &Seal, note_dir: Option<&Path>) -> Result<Told, Error> {
        let kept = begun.and_then(|b| b.told.as_ref());
        let mut told: Told = kept.map(|kept| seal.unseal(kept)).transpose()?.unwrap_or_default();
        if let Some(dir) = note_dir {
            told.note_dir = Some(std::env::current_dir().map_or_else(|_| dir.into(), |cwd| cwd.join(dir)));
        }
        Ok(told)
    }

    /// From now on they are told of what happens.
    ///
    /// # Errors
    /// The journal can't be read.
    pub fn report(
        &self,
        outputs: &Outputs,
        store: &Store,
        recorder: &Recorder,
        what: What,
        scope: Scope,
        actor: Option<String>,
    ) -> Result<(), Error> {
        let run = store.load(&recorder.run)?;
        let actor = actor.unwrap_or_else(|| run.history.by.clone());
        let facts = Facts::begin(what, &run.history, scope, actor, recorder.reason.clone());
        outputs.reporters.add(Box::new(Note::new(facts.clone(), store.clone(), self.note_dir.clone())));
        if !self.notify.is_empty() {
            let hooks = Hooks::begin(facts, store.clone(), self.notify.clone(), &outputs.screen);
            outputs.reporters.add(Box::new(hooks));
        }
        Ok(())
    }
}

fn hooks(given: &Val) -> Result<Vec<Hook>, String> {
    let Some(all) = given.as_list() else { return Err("it isn't a list".into()) };
    all.iter()
        .enumerate()
        .map(|(index, one)| {
            let hook: Hook =
                args::from_val(&with_on(one)).map_err(|e| format!("entry {}: {}", index + 1, e.message))?;
            hook.check().map_err(|why| format!("entry {}: {why}", index + 1))?;
            Ok(hook)
        })
        .collect()
}

/// In YAML 1.1 the key `on` is `true`.
fn with_on(hook: &Val) -> Val {
    let Some(map) = hook.as_map() else { return hook.clone() };
    let entries = map.iter().map(|(key, value)| match key {
        Val::Bool(true) => (Val::from("on"), value.clone()),
        key => (key.clone(), value.clone()),
    });
    Val::map(entries.collect())
}
