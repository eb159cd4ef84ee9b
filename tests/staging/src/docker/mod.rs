//! The kind `docker`: a VPS container beside a real Compose project, on a real engine.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::place::Place;
use crate::raised::Raised;

/// The engine's version, or why there is none.
pub fn engine() -> Result<String> {
    let out = Command::new("docker")
        .args(["version", "--format", "{{.Server.Version}}"])
        .output()
        .context("`docker` cannot be run")?;
    if !out.status.success() {
        bail!("{}", String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

pub fn up(_place: &Place) -> Result<Raised> {
    bail!("raising is not written yet")
}

pub fn down(_place: &Place) -> Result<()> {
    Ok(())
}

pub fn clean(_all: bool, _list: bool) -> Result<Vec<String>> {
    Ok(Vec::new())
}
