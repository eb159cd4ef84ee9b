//! Faults that a VPS really has, from `strike` until `mend`: what a rehearsal finds in `seqn_faults`.
//! Nothing records a strike but the fault itself, so striking and mending twice do no harm.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::docker::COMPOSE_LABEL;
use crate::place::{Place, write_file};
use crate::raised::{Kind, Raised};
use crate::sandbox::process::wait_until;
use crate::sandbox::sshd::{self, Order};
use crate::system::run;
use crate::{disk, docker};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Its SSH connections are lost; new ones work
    Cut,
    /// Its SSH server is away
    Refused,
    /// The health endpoints of its services answer 503
    Unhealthy,
    /// Its disk is full
    DiskFull,
    /// Nobody can change the files of the project
    Denied,
    /// Every exchange over SSH takes 200 ms longer
    Slow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Doing {
    Strike,
    Mend,
}

/// Shell commands of the machine that raised the VPS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commands {
    strike: String,
    mend: String,
}

/// Those that a VPS can really have.
pub type Faults = BTreeMap<Fault, Commands>;

/// What probes ask, of Compose and of others.
const UNHEALTHY: &str = "* /healthz status=503\n* /-/health/* status=503\n";

/// Longer than Compose's health checks take to look again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

impl Fault {
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// What can happen to the VPS of this kind in this place, whose disk is there.
pub fn possible(place: &Place, kind: Kind) -> Result<Faults> {
    let mut faults = vec![Fault::Cut, Fault::Refused, Fault::Unhealthy];
    if disk::is_mounted(place) {
        faults.push(Fault::DiskFull);
    }
    if files_can_be_locked(place)? {
        faults.push(Fault::Denied);
    }
    if kind == Kind::Sandbox {
        faults.push(Fault::Slow);
    }
    let program = std::env::current_exe().context("cannot tell which program this is")?;
    let of = |fault: Fault| {
        let command = |doing: &str| {
            let (program, dir) = (quoted(&program), quoted(place.dir()));
            format!("{program} fault {} {doing} --dir {dir}", fault.name())
        };
        (fault, Commands { strike: command("strike"), mend: command("mend") })
    };
    Ok(faults.into_iter().map(of).collect())
}

/// Lets a fault strike, or mends it.
pub fn act(place: &Place, fault: Fault, doing: Doing) -> Result<()> {
    let raised = Raised::load(place)?;
    if !raised.faults.contains_key(&fault) {
        let known: Vec<String> = raised.faults.keys().map(|fault| fault.name()).collect();
        let (fault, known) = (fault.name(), known.join(", "));
        bail!("{fault} can't really happen to this VPS; what can: {known}");
    }
    match doing {
        Doing::Strike => strike(place, &raised, fault),
        Doing::Mend => {
            mend(place, &raised, fault)?;
            if fault == Fault::Unhealthy {
                seen_again(place, &raised);
            }
            Ok(())
        }
    }
}

/// Nothing that was struck is left.
pub(crate) fn mend_all(place: &Place) -> Result<()> {
    let raised = Raised::load(place)?;
    raised.faults.keys().try_for_each(|fault| mend(place, &raised, *fault))
}

/// The files of what is to be removed can be.
pub(crate) fn let_go(place: &Place) -> Result<()> {
    match Raised::load(place) {
        Ok(raised) if raised.faults.contains_key(&Fault::Denied) && place.project().exists() => {
            unlock_files(&place.project())
        }
        // Where it was never raised nothing was struck.
        _ => Ok(()),
    }
}

fn strike(place: &Place, raised: &Raised, fault: Fault) -> Result<()> {
    match (fault, raised.kind) {
        (Fault::Cut, Kind::Sandbox) => sshd::order(place, Order::Cut),
        (Fault::Cut, Kind::Docker) => docker::cut_ssh(place),
        (Fault::Refused, Kind::Sandbox) => sshd::kill(place),
        (Fault::Refused, Kind::Docker) => docker::stop_vps(place),
        (Fault::Unhealthy, _) => write_file(&rules(raised), UNHEALTHY.as_bytes(), 0o644),
        (Fault::DiskFull, _) => disk::fill(place),
        (Fault::Denied, _) => lock_files(&raised.project_dir),
        (Fault::Slow, _) => sshd::order(place, Order::Slow),
    }
}

fn mend(place: &Place, raised: &Raised, fault: Fault) -> Result<()> {
    match (fault, raised.kind) {
        (Fault::Cut, _) => Ok(()),
        (Fault::Refused, Kind::Sandbox) => sshd::start(place),
        (Fault::Refused, Kind::Docker) => docker::start_vps(place, raised),
        (Fault::Unhealthy, _) => match std::fs::remove_file(rules(raised)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        },
        (Fault::DiskFull, _) => disk::free(place),
        (Fault::Denied, _) => unlock_files(&raised.project_dir),
        // A server that is away is not slow, and forgets it.
        (Fault::Slow, _) if sshd::daemons(place).is_empty() => Ok(()),
        (Fault::Slow, _) => sshd::order(place, Order::Quick),
    }
}

/// Rules that every service heeds before its own, which stay as they are.
fn rules(raised: &Raised) -> PathBuf {
    raised.project_dir.join("faults/all")
}

fn files_can_be_locked(place: &Place) -> Result<bool> {
    let probe = place.disk().join("probe");
    write_file(&probe, b"", 0o600)?;
    let can = lock_files(&probe).and_then(|()| unlock_files(&probe)).is_ok();
    std::fs::remove_file(&probe)?;
    Ok(can)
}

/// Files and directories can't be changed, by root either. Left out are files with a second name,
/// which are mounted into containers, and what tells services to misbehave.
fn lock_files(dir: &Path) -> Result<()> {
    let others = ["-name", "faults", "-prune", "-o", "-type"];
    // Directories first: from then on no file comes or goes while it is being found.
    for these in [&["d"][..], &["f", "-links", "1"]] {
        chattr("+i", dir, &[&others, these].concat())?;
    }
    Ok(())
}

fn unlock_files(dir: &Path) -> Result<()> {
    chattr("-i", dir, &["(", "-type", "d", "-o", "-type", "f", ")"])
}

fn chattr(how: &str, dir: &Path, which: &[&str]) -> Result<()> {
    let each = ["-exec", "chattr", how, "{}", "+"];
    run(Command::new("find").arg(dir).args(which).args(each)).map(drop)
}

/// What Compose says of health is what its last probe found. A service may be unhealthy for another
/// reason, so there is a limit.
fn seen_again(place: &Place, raised: &Raised) {
    let docker = match raised.kind {
        Kind::Sandbox => place.machine().join("bin/docker"),
        Kind::Docker => "docker".into(),
    };
    let project = format!("label={COMPOSE_LABEL}={}", raised.compose_project);
    let unhealthy = || {
        let ps = ["ps", "--quiet", "--filter", &project, "--filter", "health=unhealthy"];
        run(Command::new(&docker).args(ps)).is_ok_and(|ids| ids.trim().is_empty())
    };
    wait_until(LOOK_AGAIN, unhealthy);
}

/// A word of the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
