//! A sandbox as it was at some moment, kept beside it, and brought back: its disk, its databases and
//! its containers, under the same ports and ids. Many faults are tried from one state that way, in
//! less time than a sandbox takes to be raised.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::docker::container::{Container, Status};
use super::machine::Machine;
use super::mirror::{Same, mirror};
use super::process::{self, MARK, Process, marked, wait_until};
use super::{run_dir, sshd};
use crate::fault;
use crate::place::{Place, make_dir, write_private};

/// Until what ran before must run again.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a snapshot is of; written last, so that its presence says that all the rest is there.
#[derive(Serialize, Deserialize)]
struct Record {
    /// Ids of the containers that ran, and whether each was healthy.
    running: Vec<(String, bool)>,
}

/// A tree that belongs to it, what it is called in the snapshot, and how a file is known to be
/// unchanged.
fn trees(place: &Place) -> [(PathBuf, &'static str, Same); 2] {
    [
        (place.disk(), "disk", Same::Never),
        // Large, and nobody sets the times of a database's files.
        (run_dir(place).join("volumes"), "volumes", Same::TimeAndSize),
    ]
}

/// Keeps the state of a sandbox under this name, in place of what was kept under it. Its services
/// stop for a moment.
pub fn take(place: &Place, name: &str) -> Result<()> {
    let _held = place.lock()?;
    let machine = Machine::load(&place.machine())?;
    let containers = Container::all(&machine)?;
    let running: Vec<(String, bool)> = containers
        .iter()
        .map(|container| (container, container.state(&machine)))
        .filter(|(_, state)| state.is_up())
        .map(|(container, state)| (container.id.clone(), state.health_word() == "healthy"))
        .collect();
    in_parallel(&containers, |container| container.stop(&machine, None))?;
    let dir = snapshot_dir(place, name)?;
    let record = record_file(&dir);
    if record.exists() {
        std::fs::remove_file(&record).with_context(|| format!("cannot replace {}", dir.display()))?;
    }
    make_dir(&dir, 0o700)?;
    let trees = trees(place);
    in_parallel(&trees, |(live, name, same)| mirror(live, &dir.join(name), *same))?;
    write_private(&record, &serde_json::to_string(&Record { running: running.clone() })?)?;
    start(&machine, &running)
}

/// Brings a sandbox back to what was kept under this name, whatever became of it since.
pub fn restore(place: &Place, name: &str) -> Result<()> {
    let _held = place.lock()?;
    let machine = Machine::load(&place.machine())?;
    let dir = snapshot_dir(place, name)?;
    let text = std::fs::read_to_string(record_file(&dir))
        .with_context(|| format!("no snapshot {name:?} of {}", place.dir().display()))?;
    let record: Record = serde_json::from_str(&text).context("the snapshot is damaged")?;
    fault::mend_all(place)?;
    end_all(place, &machine)?;
    let trees = trees(place);
    in_parallel(&trees, |(live, name, same)| mirror(&dir.join(name), live, *same))?;
    start(&machine, &record.running)
}

/// All that runs there but its SSH server.
fn end_all(place: &Place, machine: &Machine) -> Result<()> {
    let daemons = sshd::daemons(place);
    let mut rest: Vec<Process> = Vec::new();
    for container in Container::all(machine)? {
        let state = container.state(machine);
        // Postgres writes over its environment, so this record is how it is known.
        rest.extend(state.child);
        rest.extend(state.supervisor);
    }
    for _ in 0..20 {
        rest.extend(marked(MARK, place.name()));
        rest.retain(|process| process.is_alive() && !daemons.contains(process));
        if rest.is_empty() {
            return Ok(());
        }
        process::end(&rest);
    }
    bail!("what runs in {} can't be ended", place.dir().display())
}

/// Starts these containers all at once, since services try again until their databases are there,
/// and waits until those are healthy that were.
fn start(machine: &Machine, running: &[(String, bool)]) -> Result<()> {
    let mut starting = Vec::new();
    for (id, healthy) in running {
        let container = Container::load(machine, id)?;
        let start = container.start(machine)?;
        starting.push((container, *healthy, start));
    }
    for (container, _, start) in &mut starting {
        start.ready().with_context(|| format!("{} does not start", container.name))?;
    }
    for (container, _, _) in starting.iter().filter(|(_, healthy, _)| *healthy) {
        let is_healthy = || {
            let state = container.state(machine);
            state.status == Status::Running && state.health_word() == "healthy"
        };
        if !wait_until(PATIENCE, is_healthy) {
            bail!("{} does not become healthy again", container.name);
        }
    }
    Ok(())
}

fn snapshot_dir(place: &Place, name: &str) -> Result<PathBuf> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || !name.chars().all(plain) {
        bail!("{name:?}: a snapshot's name is made of letters, digits, hyphens and underscores");
    }
    Ok(place.snapshots().join(name))
}

fn record_file(dir: &Path) -> PathBuf {
    dir.join("snapshot.json")
}

fn in_parallel<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = items.iter().map(|item| scope.spawn(|| work(item))).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => bail!("a thread died"),
        })
    })
}
