//! What the sandbox's programs know about the machine they stand in for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::postgres::Postgres;
use crate::place::write_private;

/// Written by `up`; every program of the sandbox finds it from its own path.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    pub name: String,
    /// Holds `bin`, `postgres-bin` and this record.
    pub dir: PathBuf,
    /// What Docker keeps. On the disk of the project, whose files it holds by hard links.
    pub docker: PathBuf,
    /// Short, because socket paths are limited, and reachable by the user that runs Postgres.
    pub run: PathBuf,
    /// Three bytes of a loopback network of its own: `127.77.3`.
    pub network: String,
    pub standin: PathBuf,
    pub postgres: Postgres,
}

pub const POSTGRES_IMAGE: &str = "seqn-staging/postgres:sandbox";
pub const SERVICES_IMAGE: &str = "seqn-staging/services:sandbox";

impl Machine {
    /// That of the running program, which lies in `DIR/bin` or `DIR/postgres-bin`.
    pub fn of_this_program() -> Result<Machine> {
        let exe = std::env::current_exe().context("cannot tell which program this is")?;
        match exe.parent().and_then(Path::parent) {
            Some(dir) => Machine::load(dir),
            None => bail!("{} belongs to no sandbox", exe.display()),
        }
    }

    pub fn load(dir: &Path) -> Result<Machine> {
        let path = record(dir);
        let text = fs::read_to_string(&path).with_context(|| format!("no sandbox in {}", dir.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    pub fn save(&self) -> Result<()> {
        write_private(&record(&self.dir), &serde_json::to_string(self)?)
    }

    /// This program's own file within the machine, which a rebuild doesn't touch.
    pub fn program(&self) -> PathBuf {
        self.bin().join("seqn-sandbox")
    }

    /// On the PATH of everyone who logs in.
    pub fn bin(&self) -> PathBuf {
        self.dir.join("bin")
    }

    /// On the PATH inside a Postgres container.
    pub fn postgres_bin(&self) -> PathBuf {
        self.dir.join("postgres-bin")
    }

    pub fn volume(&self, name: &str) -> PathBuf {
        self.run.join("volumes").join(name)
    }

    /// Where the Postgres of a container has its socket.
    pub fn socket_dir(&self, container: &str) -> PathBuf {
        self.run.join("sockets").join(container.get(..12).unwrap_or(container))
    }
}

fn record(dir: &Path) -> PathBuf {
    dir.join("sandbox.json")
}
