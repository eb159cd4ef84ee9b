//! The journal of a run from a host that it changed: for whoever takes over when the machine that
//! began it is gone.

use std::path::Path;
use std::sync::Arc;

use clap::{Args, Parser};

use crate::engine::locks::journal_file;
use crate::remote::Connections;
use crate::run::store::{Store, Stored};
use crate::secret::Error;
use crate::source::{Diagnostic, Diagnostics};

use super::hosts::HostOptions;
use super::run_log::RunFlags;
use super::session::Session;
use super::setup::{self, Common, Outputs};

/// Flags that name the host.
#[derive(Debug, Clone, Args)]
pub struct FromHost {
    /// Take the run's journal from this host, instead of this machine
    #[arg(long, value_name = "HOST")]
    from_host: Option<String>,
    /// The inventory that tells how that host is reached; else it is asked as ssh would
    #[arg(short = 'i', long = "inventory", value_name = "INVENTORY", requires = "from_host")]
    inventory: Option<String>,
}

/// What reaching a host takes, with every flag as if it weren't given.
#[derive(Debug, Parser)]
struct Bare {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    hosts: HostOptions,
}

impl FromHost {
    pub fn is_given(&self) -> bool {
        self.from_host.is_some()
    }

    /// The run: from the host, if one is named.
    ///
    /// # Errors
    /// There is no such run, or the host can't be asked.
    pub fn find(
        &self,
        id: &str,
        store: &Store,
        flags: &RunFlags,
        cwd: &Path,
        outputs: &Outputs,
    ) -> Result<Stored, Diagnostics> {
        let Some(host) = &self.from_host else {
            return store.find(id).map_err(|e| setup::problem("run", &e));
        };
        let (id, bytes) = self.fetch(host, id, &flags.locking(cwd, id).project, outputs)?;
        store.take_in(&id, &bytes).map_err(|e| setup::problem("run", &e))
    }

    fn fetch(
        &self,
        host: &str,
        id: &str,
        project: &str,
        outputs: &Outputs,
    ) -> Result<(String, Vec<u8>), Diagnostics> {
        let wrong = |message: String| Diagnostics(vec![Diagnostic::global("from-host", message)]);
        let inventory = self.inventory.clone().unwrap_or_else(|| format!("{host},"));
        let bare = Bare::try_parse_from(["seqn-play", "-i", &inventory]).map_err(|e| wrong(e.to_string()))?;
        let options = bare.hosts.options()?;
        let session = Session::open(&bare.common, &bare.hosts, options, outputs, |_, _| Vec::new())?;
        if session.variables.inventory().host(host).is_none() {
            return Err(wrong(format!("the host {host} is not in the inventory {inventory}")));
        }
        let runtime = setup::runtime()?;
        let found = runtime.block_on(async {
            let connections = Arc::new(Connections::new());
            let reached = session.reach(&[host.to_string()], outputs, &connections).await?;
            let Some(connection) = reached.into_iter().next() else { return Err(wrong("no host".into())) };
            let failed = |e: crate::remote::RemoteError| {
                let mut problem = Diagnostic::global("from-host", e.message);
                problem.help = e.help;
                Diagnostics(vec![problem])
            };
            let files = connections.files(host, &connection, project).await.map_err(failed)?;
            let mut ids: Vec<String> = files
                .list()
                .await
                .map_err(failed)?
                .iter()
                .filter_map(|name| name.strip_suffix(".journal").map(String::from))
                .collect();
            ids.sort();
            let wanted = match id {
                "last" => ids.last(),
                id => ids.iter().find(|known| known.starts_with(id)),
            };
            let Some(wanted) = wanted.cloned() else {
                let message = format!("{host} has no journal of run {id} of the project {project}");
                let known = if ids.is_empty() { "none at all".to_string() } else { ids.join(", ") };
                let e = Error::refused(message)
                    .help(format!("it has: {known}. --project NAME is another project; it is read as the user who logged in then"));
                return Err(setup::problem("from-host", &e));
            };
            let bytes = files.read(&journal_file(&wanted)).await.map_err(failed)?.unwrap_or_default();
            connections.close().await;
            Ok((wanted, bytes))
        });
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        found
    }
}
