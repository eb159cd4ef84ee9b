//! Several VPSs at once, and an inventory of them, for canaries and `serial`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::place::{make_dir, write_file, write_private};
use crate::sandbox::mirror::{Same, mirror};
use crate::{KindChoice, Place, Raised};

/// More would need more memory than what rehearses has.
const MOST: usize = 9;

/// The places of a fleet in this directory; none where no fleet was raised there.
pub fn places(dir: &Path) -> Result<Option<Vec<Place>>> {
    let Ok(count) = fs::read_to_string(record(dir)) else {
        return Ok(None);
    };
    let count = count.trim().parse().context("the record of the fleet is damaged")?;
    Ok(Some(all(dir, count)?))
}

fn all(dir: &Path, count: usize) -> Result<Vec<Place>> {
    (1..=count).map(|number| Place::new(&dir.join(format!("vps{number}")))).collect()
}

/// Raises so many, and writes the inventory of them. Whatever an earlier `up` left is removed first.
pub fn up(dir: &Path, choice: KindChoice, count: usize) -> Result<Vec<Raised>> {
    if !(1..=MOST).contains(&count) {
        bail!("a fleet has 1 to {MOST} hosts, not {count}");
    }
    down(dir)?;
    make_dir(dir, 0o755)?;
    // First, so that a killed `up` is found by the next.
    write_private(&record(dir), &format!("{count}\n"))?;
    let places = all(dir, count)?;
    let results: Vec<Result<Raised>> = thread::scope(|scope| {
        let raising: Vec<_> =
            places.iter().map(|place| scope.spawn(move || crate::up(place, choice))).collect();
        let joined = raising.into_iter().map(|one| one.join());
        joined.map(|one| one.unwrap_or_else(|_| bail!("a thread died"))).collect()
    });
    let raised: Result<Vec<Raised>> = results.into_iter().collect();
    match raised.and_then(|raised| inventory(dir, &places).map(|()| raised)) {
        Ok(raised) => Ok(raised),
        Err(error) => {
            if let Err(left) = down(dir) {
                crate::say(&format!("what was raised so far stays: {left:#}"));
            }
            Err(error)
        }
    }
}

/// Removes a fleet; does nothing where none is.
pub fn down(dir: &Path) -> Result<()> {
    let Some(places) = places(dir)? else {
        return Ok(());
    };
    for place in &places {
        crate::down(place)?;
    }
    let inventory = dir.join("inventory");
    if inventory.exists() {
        fs::remove_dir_all(&inventory).with_context(|| format!("cannot remove {}", inventory.display()))?;
    }
    fs::remove_file(record(dir))?;
    // It may hold files of others.
    let _ = fs::remove_dir(dir);
    Ok(())
}

/// Hosts `vps1` and so on in group `seqn`, with the group variables of `inventory/staging`.
fn inventory(dir: &Path, places: &[Place]) -> Result<()> {
    let inventory = dir.join("inventory");
    let mut hosts = "---\nall:\n  children:\n    seqn:\n      hosts:\n".to_owned();
    for (index, place) in places.iter().enumerate() {
        let name = format!("vps{}", index + 1);
        let _ = writeln!(hosts, "        {name}: {{}}");
        let vars = inventory.join("host_vars").join(&name);
        make_dir(&vars, 0o700)?;
        write_private(&vars.join("raised.yml"), &fs::read_to_string(place.raised_yml())?)?;
    }
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    mirror(&project.join("inventory/staging/group_vars"), &inventory.join("group_vars"), Same::Never)?;
    write_file(&inventory.join("hosts.yml"), hosts.as_bytes(), 0o644)
}

fn record(dir: &Path) -> PathBuf {
    dir.join("fleet")
}
