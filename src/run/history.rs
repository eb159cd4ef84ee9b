//! What stands of a run, read from its records.

use std::collections::{HashMap, HashSet};

use indexmap::IndexMap;

use super::record::{Begun, Done, Ended, Intent, Nature, Record, Recorded, Status};
use super::seal::Sealed;

/// A run as its journal tells it, up to its last record.
#[derive(Debug, Default, Clone)]
pub struct History {
    pub begun: Option<Box<Begun>>,
    pub answers: HashMap<String, Option<Sealed>>,
    /// In the order applied; those that were taken back are not among them.
    pub steps: Vec<Step>,
    /// By Instance id; the last one counts.
    pub outcomes: IndexMap<String, Recorded>,
    pub hosts: Vec<String>,
    /// Where the journal is kept too; the last lock of a host counts.
    pub locked: IndexMap<String, Locked>,
    /// Every Step that left content beside a file, also those that were taken back.
    pub beside: Vec<Intent>,
    /// A Step was applied, or may have been.
    pub acted: bool,
    pub ending: Option<Ended>,
    /// Who said that it stays as it is, when and why.
    pub abandoned: Option<(String, String, String)>,
    /// Somebody began to go back.
    pub going_back: bool,
    /// Who began it, or went on last.
    pub by: String,
    /// When the last record that tells a time was written.
    pub last_at: String,
    /// What could not be taken back: label and why.
    pub not_undone: Vec<(String, String)>,
    /// Outcomes that aren't true any more, since what led to them was taken back.
    gone: HashMap<String, Recorded>,
    /// Host and path of transactions that were taken back; `true`: to their end.
    undone: Vec<(String, String, bool)>,
}

/// A Step that was applied, or may have been.
#[derive(Debug, Clone)]
pub struct Step {
    pub intent: Intent,
    /// `None`: the program died before it knew.
    pub done: Option<Done>,
    /// Its Instance came to an Outcome after it.
    pub told: bool,
}

/// A host that a run locked.
#[derive(Debug, Clone)]
pub struct Locked {
    pub project: String,
    pub reached: Option<Sealed>,
}

/// What a run is in, for people and for the next command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Came to its end.
    Finished,
    Failed,
    /// Ended by Ctrl-C.
    Interrupted,
    /// Its program died.
    Cut,
    RolledBack,
    /// Going back was begun and is not at its end.
    HalfRolledBack,
    Abandoned,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            State::Finished => "finished",
            State::Failed => "failed",
            State::Interrupted => "interrupted",
            State::Cut => "cut",
            State::RolledBack => "rolled back",
            State::HalfRolledBack => "half rolled back",
            State::Abandoned => "abandoned",
        }
    }
}

/// Where tasks stand that take something back: nothing of theirs is gone on with, or taken back.
pub fn undo_site(play: &str, number: usize) -> String {
    format!("{play}/undo-{number}")
}

/// Whether it belongs to such a task.
pub fn is_undo(instance: &str) -> bool {
    instance.split('/').nth(1).is_some_and(|part| part.starts_with("undo-"))
}

impl History {
    pub fn of(records: Vec<Record>) -> History {
        let mut history = History::default();
        records.into_iter().for_each(|record| history.add(record));
        history
    }

    /// Takes in the next record.
    pub fn add(&mut self, record: Record) {
        match record {
            Record::Begun(begun) => {
                self.last_at = begun.at.clone();
                self.by = begun.by.clone();
                self.begun = Some(begun);
            }
            Record::Answered { name, value } => {
                self.answers.insert(name, value);
            }
            Record::Play { hosts, .. } => {
                for host in hosts {
                    if !self.hosts.contains(&host) {
                        self.hosts.push(host);
                    }
                }
            }
            Record::Locked { host, project, reached } => {
                self.locked.insert(host, Locked { project, reached });
            }
            Record::Intent(intent) if is_undo(&intent.step.instance) => self.last_at = intent.at,
            Record::Outcome(outcome) if is_undo(&outcome.instance) => self.last_at = outcome.at,
            Record::Intent(intent) => {
                self.last_at = intent.at.clone();
                self.acted = true;
                if intent.beside {
                    self.beside.push((*intent).clone());
                }
                self.outcomes.shift_remove(&intent.step.instance);
                self.steps.push(Step { intent: *intent, done: None, told: false });
            }
            Record::Done(done) => {
                self.last_at = done.at.clone();
                if let Some(step) = self.steps.iter_mut().rev().find(|s| s.intent.step == done.step) {
                    step.done = Some(done);
                }
            }
            Record::Outcome(outcome) => {
                self.last_at = outcome.at.clone();
                let its = |s: &&mut Step| s.intent.step.instance == outcome.instance;
                self.steps.iter_mut().filter(its).for_each(|s| s.told = true);
                self.outcomes.insert(outcome.instance.clone(), *outcome);
            }
            Record::Undoing { below, host } => self.undone.push((host, below, false)),
            Record::Undone { step, label, error } => match error {
                None => {
                    if self.going_back {
                        self.forget_from(&step.instance);
                    }
                    self.steps.retain(|s| s.intent.step != step);
                }
                Some(why) => self.not_undone.push((label, why)),
            },
            Record::Void { below, host } => {
                self.steps.retain(|s| !(s.intent.host == host && is_below(&s.intent.step.instance, &below)));
                self.undone.retain(|(h, b, _)| !(*h == host && *b == below));
                self.undone.push((host, below, true));
            }
            Record::Continued { at, by, back } => {
                self.last_at = at;
                self.by = by;
                self.going_back = back;
                if !back {
                    self.forget_undone();
                    self.forget_failures();
                }
                self.ending = None;
                self.not_undone.clear();
            }
            Record::Ended { at, ending } => {
                self.last_at = at;
                self.ending = Some(ending);
            }
            Record::Audited { .. } => {}
            Record::Abandoned { at, by, reason } => {
                self.last_at = at.clone();
                self.abandoned = Some((at, by, reason));
            }
        }
    }

    /// Of a transaction that was taken back no Outcome is true any more: it begins anew. Only where
    /// the program died in what comes after it (`rescue`), that is gone on with.
    fn forget_undone(&mut self) {
        let ended = self.ending.is_some();
        for (host, below, whole) in std::mem::take(&mut self.undone) {
            let is_its = |o: &Recorded| o.host == host && is_below(&o.instance, &below);
            let rescued = |o: &Recorded| o.status == Status::Failed && !o.stands;
            let in_rescue = whole && !ended && self.outcomes.values().any(|o| is_its(o) && rescued(o));
            if !in_rescue {
                self.outcomes.retain(|_, o| !is_its(o));
            }
        }
    }

    /// Failures are tried again: what a host came to after its first one is as if it never was, save
    /// the effects. What it only looked at right before may be other by now, and is looked at again.
    fn forget_failures(&mut self) {
        let mut from: HashMap<&str, usize> = HashMap::new();
        for (index, outcome) in self.outcomes.values().enumerate().filter(|(_, o)| o.stands) {
            from.entry(&outcome.host).or_insert(index);
        }
        for (host, first) in &mut from {
            let before = self.outcomes.values().enumerate().take(*first).filter(|(_, o)| o.host == *host);
            let looks = before.rev().take_while(|(_, o)| self.only_looked(o));
            *first = looks.last().map_or(*first, |(index, _)| index);
        }
        let gone: HashSet<String> = (self.outcomes.values().enumerate())
            .filter(|(index, o)| from.get(o.host.as_str()).is_some_and(|first| index >= first))
            .map(|(_, o)| o.instance.clone())
            .collect();
        self.outcomes.retain(|instance, _| !gone.contains(instance));
    }

    /// Whether it can be done again without a thought.
    fn only_looked(&self, outcome: &Recorded) -> bool {
        matches!(outcome.status, Status::Ok | Status::Skipped)
            && !outcome.changed
            && !outcome.sets_secret
            && self.steps_of(&outcome.instance).all(|step| step.intent.nature == Nature::Repeatable)
    }

    /// What a host came to from this Instance on isn't true any more.
    fn forget_from(&mut self, instance: &str) {
        let Some(from) = self.outcomes.get_index_of(instance) else { return };
        let host = self.outcomes[from].host.clone();
        let after = self.outcomes.split_off(from);
        for (instance, outcome) in after {
            match outcome.host == host {
                true => self.gone.insert(instance, outcome),
                false => self.outcomes.insert(instance, outcome),
            };
        }
    }

    /// As it was before anything was taken back.
    pub fn as_it_was(&self) -> History {
        let mut history = self.clone();
        for (instance, outcome) in std::mem::take(&mut history.gone) {
            history.outcomes.entry(instance).or_insert(outcome);
        }
        history
    }

    /// Other values are made instead of those that the run made: what came after is done again.
    pub fn forget_secrets(&mut self) {
        let first: Vec<String> =
            self.outcomes.values().filter(|o| o.sets_secret).map(|o| o.instance.clone()).collect();
        first.iter().for_each(|instance| self.forget_from(instance));
    }

    /// Steps of one Instance, in order.
    pub fn steps_of<'h>(&'h self, instance: &'h str) -> impl Iterator<Item = &'h Step> {
        self.steps.iter().filter(move |s| s.intent.step.instance == instance)
    }

    /// The Step of this Instance whose end isn't known, if its Outcome isn't either.
    pub fn cut<'h>(&'h self, instance: &'h str) -> Option<&'h Step> {
        if self.outcomes.contains_key(instance) {
            return None;
        }
        self.steps_of(instance).last()
    }

    /// Every Instance that was begun and has no Outcome: its last Step.
    pub fn unfinished(&self) -> Vec<&Step> {
        let mut last: IndexMap<&str, &Step> = IndexMap::new();
        for step in &self.steps {
            last.insert(&step.intent.step.instance, step);
        }
        last.into_values().filter(|s| !self.outcomes.contains_key(&s.intent.step.instance)).collect()
    }

    /// The next attempt's number of an Instance.
    pub fn next_attempt(&self, instance: &str) -> u32 {
        self.steps_of(instance).map(|s| s.intent.step.attempt).max().unwrap_or(0) + 1
    }

    pub fn state(&self) -> State {
        if self.abandoned.is_some() {
            return State::Abandoned;
        }
        match self.ending {
            // Back to a task, not to the beginning.
            Some(Ended::RolledBack) if !self.steps.is_empty() => State::Interrupted,
            Some(Ended::RolledBack) => State::RolledBack,
            Some(Ended::NotRolledBack) => State::HalfRolledBack,
            _ if self.going_back => State::HalfRolledBack,
            Some(Ended::Fine) => State::Finished,
            Some(Ended::Failed) => State::Failed,
            Some(Ended::Interrupted) => State::Interrupted,
            None => State::Cut,
        }
    }

    /// Whether hosts were left between two states, so that no other run of the same playbook may
    /// begin on them.
    pub fn is_open(&self) -> bool {
        match self.state() {
            State::Cut | State::Interrupted | State::HalfRolledBack => !self.steps.is_empty(),
            State::Failed => !self.unfinished().is_empty() || !self.not_undone.is_empty(),
            State::Finished | State::RolledBack | State::Abandoned => false,
        }
    }
}

/// Whether an Instance stands below a path: the path is a part of its own, not of a word.
fn is_below(instance: &str, path: &str) -> bool {
    instance.strip_prefix(path).is_some_and(|rest| rest.starts_with(['/', '@']))
}

#[cfg(test)]
mod tests {
    use super::super::record::{Nature, StepId};
    use super::*;

    fn id(instance: &str) -> StepId {
        StepId { instance: instance.into(), attempt: 1, part: 0 }
    }

    fn host(instance: &str) -> String {
        instance.split(['@', '#']).nth(1).unwrap_or_default().to_string()
    }

    fn intent(instance: &str) -> Record {
        Record::Intent(Box::new(Intent {
            step: id(instance),
            at: "t".into(),
            host: host(instance),
            target: Some(host(instance)),
            task: instance.into(),
            label: instance.into(),
            nature: Nature::Observable,
            looks: false,
            noted: false,
            beside: false,
            kept: None,
        }))
    }

    #[test]
    fn what_a_host_noted_long_ago_is_not_believed() {
        let at = |days| (chrono::Local::now() - chrono::TimeDelta::days(days)).to_rfc3339();
        let cases =
            [(true, at(1), true), (true, at(15), false), (false, at(1), false), (true, "t".into(), false)];
        for (noted, at, believed) in cases {
            let Record::Intent(intent) = intent("run@h") else { panic!("an intent") };
            assert_eq!(Intent { noted, at: at.clone(), ..*intent }.is_noted(), believed, "{noted} {at}");
        }
    }

    fn done(instance: &str) -> Record {
        Record::Done(Done { step: id(instance), at: "t".into(), status: 0, kept: None })
    }

    fn outcome(instance: &str, status: Status, stands: bool) -> Record {
        Record::Outcome(Box::new(Recorded {
            instance: instance.into(),
            at: "t".into(),
            host: host(instance),
            task: instance.into(),
            status,
            changed: status == Status::Changed,
            stands,
            sets_secret: instance.contains("secret"),
            took: 0,
            message: None,
            kept: None,
        }))
    }

    /// An Instance that was applied.
    fn applied(instance: &str) -> Vec<Record> {
        vec![intent(instance), done(instance), outcome(instance, Status::Changed, false)]
    }

    fn continued(back: bool) -> Record {
        Record::Continued { at: "t".into(), by: "me".into(), back }
    }

    fn ended(ending: Ended) -> Record {
        Record::Ended { at: "t".into(), ending }
    }

    fn undoing(whole: bool) -> Vec<Record> {
        let (below, host) = ("1.1/tx".to_string(), "h".to_string());
        let mut records = vec![Record::Undoing { below: below.clone(), host: host.clone() }];
        let undone = |i: &str| Record::Undone { step: id(i), label: i.into(), error: None };
        records.push(undone("1.1/tx/1@h"));
        if whole {
            records.extend([undone("1.1/tx/0@h"), Record::Void { below, host }]);
        }
        records
    }

    /// What is recalled, and what stands on hosts, after these records.
    fn stands(records: &[Vec<Record>]) -> (Vec<String>, Vec<String>) {
        let history = History::of(records.concat());
        let outcomes = history.outcomes.keys().cloned().collect();
        (outcomes, history.steps.iter().map(|s| s.intent.step.instance.clone()).collect())
    }

    #[test]
    fn who_goes_on_recalls_what_is_true() {
        let before = applied("1.1/a@h");
        let body = [applied("1.1/tx/0@h"), applied("1.1/tx/1@h")].concat();
        let fails = |stands| vec![outcome("1.1/tx/2@h", Status::Failed, stands)];
        let on = vec![continued(false)];
        for (name, records, recalled, standing) in [
            ("cut between tasks", vec![before.clone(), on.clone()], "1.1/a@h", "1.1/a@h"),
            (
                "a failure that stands is tried again, and what came after it",
                vec![
                    before.clone(),
                    vec![outcome("1.1/b@h", Status::Failed, true), outcome("1.1/c@h", Status::Ok, false)],
                    vec![outcome("1.1/c@other", Status::Ok, false), ended(Ended::Failed)],
                    on.clone(),
                ],
                "1.1/a@h 1.1/c@other",
                "1.1/a@h",
            ),
            (
                "an ignored failure is recalled",
                vec![vec![outcome("1.1/b@h", Status::Failed, false)], applied("1.1/c@h"), on.clone()],
                "1.1/b@h 1.1/c@h",
                "1.1/c@h",
            ),
            (
                "a transaction that was taken back begins anew",
                vec![
                    before.clone(),
                    body.clone(),
                    fails(true),
                    undoing(true),
                    vec![ended(Ended::Failed)],
                    on.clone(),
                ],
                "1.1/a@h",
                "1.1/a@h",
            ),
            (
                "so does one that was being taken back",
                vec![before.clone(), body.clone(), fails(true), undoing(false), on.clone()],
                "1.1/a@h",
                "1.1/a@h 1.1/tx/0@h",
            ),
            (
                "its rescue is gone on with",
                vec![body.clone(), fails(false), undoing(true), applied("1.1/tx/rescue/0@h"), on.clone()],
                "1.1/tx/0@h 1.1/tx/1@h 1.1/tx/2@h 1.1/tx/rescue/0@h",
                "1.1/tx/rescue/0@h",
            ),
            (
                "unless the rescue failed too",
                vec![
                    body.clone(),
                    fails(false),
                    undoing(true),
                    vec![outcome("1.1/tx/rescue/0@h", Status::Failed, true), ended(Ended::Failed)],
                    on.clone(),
                ],
                "",
                "",
            ),
            (
                "another transaction of that name isn't meant",
                vec![applied("1.1/tx2/0@h"), undoing(true), vec![ended(Ended::Failed)], on.clone()],
                "1.1/tx2/0@h",
                "1.1/tx2/0@h",
            ),
        ] {
            let (outcomes, steps) = stands(&records);
            assert_eq!((outcomes.join(" "), steps.join(" ")), (recalled.into(), standing.into()), "{name}");
        }
    }

    #[test]
    fn states_and_what_stands_in_the_way() {
        let a = applied("1.1/a@h");
        let cut = vec![intent("1.1/b@h")];
        for (records, state, open) in [
            (vec![], State::Cut, false),
            (vec![a.clone()], State::Cut, true),
            (vec![a.clone(), vec![ended(Ended::Fine)]], State::Finished, false),
            (vec![a.clone(), vec![ended(Ended::Failed)]], State::Failed, false),
            (vec![a.clone(), cut.clone(), vec![ended(Ended::Failed)]], State::Failed, true),
            (vec![a.clone(), vec![ended(Ended::Interrupted)]], State::Interrupted, true),
            (vec![a.clone(), vec![ended(Ended::Fine), continued(true)]], State::HalfRolledBack, true),
            (
                vec![
                    a.clone(),
                    vec![
                        continued(true),
                        Record::Undone { step: id("1.1/a@h"), label: "a".into(), error: None },
                        ended(Ended::RolledBack),
                    ],
                ],
                State::RolledBack,
                false,
            ),
        ] {
            let history = History::of(records.concat());
            assert_eq!((history.state(), history.is_open()), (state, open), "{records:?}");
        }
        let unfinished = History::of([a, cut].concat());
        assert_eq!(unfinished.unfinished().len(), 1);
    }

    #[test]
    fn back_to_a_task_forgets_what_came_after() {
        let undone = Record::Undone { step: id("1.1/b@h"), label: "b".into(), error: None };
        let after = vec![outcome("1.1/c@h", Status::Ok, false), ended(Ended::Fine)];
        let back = vec![continued(true), undone, ended(Ended::RolledBack)];
        let records = [applied("1.1/a@h"), applied("1.1/b@h"), after, back].concat();
        let history = History::of(records);
        assert_eq!(history.outcomes.keys().collect::<Vec<_>>(), ["1.1/a@h"]);
        assert_eq!(history.state(), State::Interrupted);
    }

    #[test]
    fn other_secrets_make_the_rest_anew() {
        let mut history = History::of(
            [applied("1.1/a@h"), vec![outcome("1.1/secret@h", Status::Ok, false)], applied("1.1/b@h")]
                .concat(),
        );
        history.forget_secrets();
        assert_eq!(history.outcomes.keys().collect::<Vec<_>>(), ["1.1/a@h"]);
    }
}
