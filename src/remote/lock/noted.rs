//! What effects left in a lock's folder, as it is read.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::control::Control;
use super::unreadable;
use crate::remote::RemoteError;

/// An effect whose processes are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub run: String,
    /// The host's user who runs it.
    pub user: String,
    /// Seconds since the epoch, by the host's clock.
    pub since: i64,
    pub pid: u32,
    /// Its own process group.
    pub group: Option<u32>,
    /// `PID GROUP START BOOT`
    pub(super) process: String,
    /// Noted by root or the login user. What others noted could name anybody's process.
    pub(super) trusted: bool,
}

impl Running {
    /// What `kill` takes to reach all of it.
    pub fn kill(&self) -> String {
        match self.group {
            Some(group) => format!("-- -{group}"),
            None => self.pid.to_string(),
        }
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = chrono::DateTime::from_timestamp(self.since, 0)
            .map_or_else(String::new, |t| t.format(" since %Y-%m-%d %H:%M:%S UTC").to_string());
        let what = if self.group.is_some() { "process group" } else { "process" };
        write!(f, "{what} {} of run {} as {}{since}", self.group.unwrap_or(self.pid), self.run, self.user)
    }
}

/// One folder in `effects/`.
pub struct Noted {
    pub uid: String,
    pub user: String,
    pub time: i64,
    pub run: String,
    /// Hash and number of the lock.
    pub id: String,
    pub number: u32,
    pub what: What,
}

pub enum What {
    /// `PID GROUP START BOOT`
    Began(String),
    /// `None`: refused on the host before it did anything.
    Ended(Option<i32>),
}

impl Noted {
    /// `uid user time ./RUN/HASH.NUMBER.began.PID.GROUP.START.BOOT`, or `.ended.STATUS`.
    fn parse(line: &str) -> Option<Noted> {
        let mut words = line.splitn(4, ' ');
        let mut next = || words.next();
        let (uid, user, time, path) = (next()?, next()?, next()?, next()?);
        let (run, name) = path.strip_prefix("./")?.split_once('/')?;
        let parts: Vec<&str> = name.split('.').collect();
        let what = match parts[..] {
            [_, _, "began", pid, group, start, boot] => What::Began(format!("{pid} {group} {start} {boot}")),
            [_, _, "ended", "-"] => What::Ended(None),
            [_, _, "ended", status] => What::Ended(Some(status.parse().ok()?)),
            _ => return None,
        };
        Some(Noted {
            uid: uid.into(),
            user: user.into(),
            time: time.parse().ok()?,
            run: run.into(),
            id: format!("{}.{}", parts[0], parts[1]),
            number: parts[1].parse().ok()?,
            what,
        })
    }

    pub fn running(&self, me: &str) -> Option<Running> {
        let What::Began(process) = &self.what else { return None };
        let mut numbers = process.split(' ');
        // Group 1 would be everybody's, to `kill`.
        let pid = numbers.next()?.parse().ok().filter(|pid| *pid > 1)?;
        let group = numbers.next()?.parse().ok().filter(|group| *group == pid);
        Some(Running {
            run: self.run.clone(),
            user: self.user.clone(),
            since: self.time,
            pid,
            group,
            process: process.clone(),
            trusted: self.uid == "0" || self.uid == me,
        })
    }
}

/// What is noted under a lock's folder.
pub struct Marks {
    /// The login user's number there.
    pub me: String,
    pub all: Vec<Noted>,
}

impl Marks {
    pub fn parse(said: &str) -> Result<Marks, RemoteError> {
        let mut lines = said.lines();
        let me = lines.next().and_then(|line| line.split(' ').next()).ok_or_else(|| unreadable(said))?;
        Ok(Marks { me: me.to_string(), all: lines.filter_map(Noted::parse).collect() })
    }

    pub async fn look(control: &Control, folder: &str, pattern: &str) -> Result<Marks, RemoteError> {
        let said = control.run(&format!("l_marks {folder} '{pattern}'"), "EFFECTS").await?;
        Marks::parse(&said.stdout_text())
    }
}

/// Which of these still run.
pub async fn alive(control: &Control, all: Vec<Running>) -> Result<Vec<Running>, RemoteError> {
    if all.is_empty() {
        return Ok(all);
    }
    let ask = |one: &Running| format!("if l_alive {}; then echo 1; else echo 0; fi\n", one.process);
    let said = control.run(&all.iter().map(ask).collect::<String>(), "ALIVE").await?.stdout_text();
    Ok(all.into_iter().zip(said.lines()).filter(|(_, said)| *said == "1").map(|(one, _)| one).collect())
}
