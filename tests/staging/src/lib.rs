//! A VPS that may break: what rehearsals and tests run against instead of production.
//!
//! Two kinds answer to the same contract. `docker` is the real thing on a Docker engine;
//! `sandbox` does the same with local processes where no engine is to be had.

#![cfg(feature = "vps")]

mod disk;
pub mod docker;
pub mod fault;
pub mod fleet;
mod place;
mod ports;
pub mod project;
mod raised;
pub mod sandbox;
mod secrets;
pub mod system;

use std::io::{self, Write};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

pub use place::{Place, cache_dir};
pub use raised::{Kind, Raised, Seqn};

use crate::project::Project;
use crate::secrets::Secrets;

/// The kind asked for on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KindChoice {
    /// docker where an engine answers, else sandbox
    Auto,
    Docker,
    Sandbox,
}

impl KindChoice {
    /// Settles `auto`, and tells which kind it became and why.
    fn settle(self) -> Kind {
        match self {
            KindChoice::Docker => Kind::Docker,
            KindChoice::Sandbox => Kind::Sandbox,
            KindChoice::Auto => match docker::engine() {
                Ok(version) => {
                    say(&format!("kind docker: engine {version} answers"));
                    Kind::Docker
                }
                Err(why) => {
                    say(&format!("kind sandbox: no Docker engine ({why:#})"));
                    Kind::Sandbox
                }
            },
        }
    }
}

/// Raises a staging VPS in `place`. Whatever an earlier `up` left there is removed first, and
/// where raising fails nothing stays.
pub fn up(place: &Place, choice: KindChoice) -> Result<Raised> {
    let kind = choice.settle();
    let _held = place.lock()?;
    remove(place)?;
    match raise(place, kind) {
        Ok(raised) => Ok(raised),
        Err(error) => {
            if let Err(left) = remove(place) {
                say(&format!("what was raised so far stays: {left:#}"));
            }
            Err(error)
        }
    }
}

fn raise(place: &Place, kind: Kind) -> Result<Raised> {
    place.prepare(kind)?;
    if let Err(why) = disk::mount(place) {
        say(&format!("its disk can't be filled, being this machine's: {why:#}"));
    }
    let raised = match kind {
        Kind::Docker => docker::up(place)?,
        Kind::Sandbox => sandbox::up(place).inspect_err(|_| sandbox::show_logs(place))?,
    };
    raised.save(place)?;
    Ok(raised)
}

/// Sets up what runs, as an operator and an administrator did it long ago.
fn seed(raised: &Raised, project: &Project, secrets: &Secrets) -> Result<()> {
    let seeds = [
        ("authentik-server", "authentik", secrets.authentik_seed(project)?),
        ("silver-auth-api", "silver", secrets.silver_seed()?),
    ];
    for (service, what, seed) in seeds {
        let dir = raised.project_dir.display();
        let line = format!("cd {dir} && docker compose exec -T {service} /seqn-standin seed {what}");
        system::feed(raised.ssh().arg(line), &seed.to_string())
            .with_context(|| format!("{what} cannot be set up"))?;
    }
    Ok(())
}

/// Tells a service to misbehave by these rules of `CONTRACTS.md`, or with none to behave again.
pub fn misbehave(place: &Place, service: &str, rules: &[String]) -> Result<()> {
    let raised = Raised::load(place)?;
    if !project::MISBEHAVING.contains(&service) {
        bail!("no such service: {service}; there are {}", project::MISBEHAVING.join(", "));
    }
    let file = raised.project_dir.join("faults").join(service);
    match rules {
        [] if file.exists() => {
            std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))
        }
        [] => Ok(()),
        rules => place::write_file(&file, (rules.join("\n") + "\n").as_bytes(), 0o644),
    }
}

/// Removes everything that `up` made in `place`; does nothing where nothing is left.
pub fn down(place: &Place) -> Result<()> {
    let held = place.lock()?;
    remove(place)?;
    held.release();
    Ok(())
}

fn remove(place: &Place) -> Result<()> {
    // Containers are found by label, so this also works when the directory is already gone.
    docker::down(place)?;
    // Its processes carry a mark, so the same holds for them.
    sandbox::down(place)?;
    disk::unmount(place)?;
    fault::let_go(place)?;
    place.remove_files()
}

/// One line for the person watching; stdout carries only the JSON.
pub fn say(line: &str) {
    // Nobody is left to tell when stderr is closed.
    let _ = writeln!(io::stderr(), "staging: {line}");
}

/// Runs one part of an `up` and says how long it took.
fn timed<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    let result = work()?;
    say(&format!("{what}: {:.1} s", begun.elapsed().as_secs_f64()));
    Ok(result)
}
