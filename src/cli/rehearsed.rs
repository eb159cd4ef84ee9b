//! What an inventory says about rehearsals: that its hosts may break, what is asked while they do, and
//! that a playbook must have been rehearsed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::rehearse::fault::{Fault, Strike, Strikes};
use crate::rehearse::outage::{Endpoint, Endpoints};
use crate::rehearse::program::Place;
use crate::rehearse::{FOLDER, Wanted, content, required};
use crate::remote::{Connection, Connections};
use crate::report::facts::Scope;
use crate::secret::Error;
use crate::source::{Diagnostic, Diagnostics, Val, args};

use super::run_log::RunFlags;
use super::session::Session;
use super::setup::{self, Outputs};

/// `seqn_rehearsed_within_days`: whether this content of the playbook was rehearsed in time; where
/// several hosts demand it, as the strictest does.
///
/// # Errors
/// It was not.
pub fn demand(
    cwd: &Path,
    session: &Session,
    flags: &RunFlags,
    playbook: &str,
    scope: &Scope,
) -> Result<(), Diagnostics> {
    const NAME: &str = "seqn_rehearsed_within_days";
    let wrong = |e: Error| setup::problem("rehearsed", &e);
    let refused = |why: String| wrong(Error::refused(why));
    let mut least: Option<f64> = None;
    for value in session.variable(NAME).map_err(|why| refused(format!("{NAME}: {why}")))? {
        let days: f64 = (value.key_text().trim().parse())
            .map_err(|_| refused(format!("{NAME} must be a number of days, not {}", value.type_name())))?;
        least = Some(least.map_or(days, |known| known.min(days)));
    }
    let Some(days) = least else { return Ok(()) };
    let paths = content::paths(&session.loader, &session.playbooks);
    let content = content::hash(cwd, &paths).map_err(wrong)?;
    required::demand(&flags.store(cwd).beside(FOLDER), &content, playbook, scope, days).map_err(wrong)
}

/// # Errors
/// A host of it may not break, or is protected.
pub fn may_break(session: &Session, inventory: &str) -> Result<(), Error> {
    let unmarked = session.unbreakable();
    if session.is_protected() {
        return Err(Error::refused(format!("the inventory {inventory} is protected (seqn_protected)"))
            .help("rehearse on another one, which may break"));
    }
    if session.hosts().is_empty() {
        return Err(Error::refused(format!("{inventory} has no host that the playbook names")));
    }
    match unmarked.as_slice() {
        [] => Ok(()),
        hosts => Err(Error::refused(format!(
            "the inventory {inventory} is not marked as a place that may break: {}",
            hosts.join(", ")
        ))
        .help(
            "a rehearsal kills, fills and cuts. Where that does no harm, say so in the inventory (not with -e), \
             for example in its group_vars/all.yml: `seqn_may_break: true`",
        )),
    }
}

/// A variable that is one text, the same for each host that has it.
///
/// # Errors
/// It can't be rendered, or hosts differ.
pub fn one(session: &Session, name: &str) -> Result<Option<String>, Diagnostics> {
    let values = session.variable(name).map_err(|why| unusable(name, &why))?;
    let texts: BTreeSet<String> = values.iter().map(Val::key_text).filter(|text| !text.is_empty()).collect();
    match texts.len() {
        0 | 1 => Ok(texts.into_iter().next()),
        _ => Err(unusable(name, "hosts have different ones, and it is about the place as a whole")),
    }
}

fn unusable(name: &str, why: &str) -> Diagnostics {
    let mut problem = Diagnostic::global("rehearse", format!("the variable {name} can't be used: {why}"));
    problem.help = Some("docs/rehearse.md has an example".into());
    Diagnostics(vec![problem])
}

/// A place as its inventory tells of it.
pub struct Asked {
    inventory: Vec<String>,
    session: Session,
    strikes: Strikes,
    endpoints: Vec<Endpoint>,
    searched: Vec<(String, String)>,
}

impl Asked {
    /// # Errors
    /// `seqn_faults`, `seqn_probe_endpoints` or `seqn_leak_search` isn't what it must be.
    pub fn of(inventory: Vec<String>, session: Session, outputs: &Outputs) -> Result<Asked, Diagnostics> {
        let (strikes, endpoints) = (strikes(&session)?, endpoints(&session, outputs)?);
        let searched = searched(&session)?;
        Ok(Asked { inventory, session, strikes, endpoints, searched })
    }

    /// The place of that number in a rehearsal.
    ///
    /// # Errors
    /// A host can't be reached, or an endpoint can't be asked at all.
    pub async fn connect(
        self,
        wanted: &Wanted,
        number: usize,
        outputs: &Outputs,
    ) -> Result<Place, Diagnostics> {
        let hosts = self.session.hosts();
        let playbooks: Vec<_> = self.session.playbooks.iter().map(|(file, _)| file.clone()).collect();
        let reach = reached(&self.endpoints, self.session, outputs).await?;
        let endpoints = Endpoints::connect(&self.endpoints, &playbooks, &reach).await.map_err(|why| {
            let error = Error::refused(format!("the endpoints can't be asked: {why}"));
            setup::problem("rehearse", &error.help("seqn_probe_endpoints: see docs/rehearse.md"))
        })?;
        Ok(Place {
            inventory: self.inventory,
            hosts,
            runs: wanted.folder.join(format!("runs-{number}")),
            strikes: self.strikes,
            searched: self.searched,
            project: format!("rehearsal-{}-{number}", wanted.rehearsal.id),
            reach,
            endpoints,
        })
    }
}

/// `seqn_probe_endpoints` of all hosts, each once.
///
/// # Errors
/// It isn't what it must be.
fn endpoints(session: &Session, outputs: &Outputs) -> Result<Vec<Endpoint>, Diagnostics> {
    const NAME: &str = "seqn_probe_endpoints";
    let mut all: Vec<Endpoint> = Vec::new();
    for value in session.variable(NAME).map_err(|why| unusable(NAME, &why))? {
        outputs.redactor.register_args(&value);
        let Some(list) = value.as_list() else { return Err(unusable(NAME, "it isn't a list")) };
        for one in list {
            let endpoint: Endpoint = args::from_val(one).map_err(|e| unusable(NAME, &e.message))?;
            endpoint.check().map_err(|why| unusable(NAME, &why))?;
            if !all
                .iter()
                .any(|known| known.name == endpoint.name && known.url.as_str() == endpoint.url.as_str())
            {
                all.push(endpoint);
            }
        }
    }
    Ok(all)
}

/// `seqn_leak_search`: shell commands of hosts, whose output must hold no secret.
///
/// # Errors
/// It isn't what it must be.
fn searched(session: &Session) -> Result<Vec<(String, String)>, Diagnostics> {
    const NAME: &str = "seqn_leak_search";
    let mut all = Vec::new();
    for (host, value) in session.by_host(NAME).map_err(|why| unusable(NAME, &why))? {
        let Some(list) = value.as_list() else { return Err(unusable(NAME, "it isn't a list")) };
        all.extend(list.iter().map(|command| (host.clone(), command.key_text())));
    }
    Ok(all)
}

/// `seqn_faults`: faults that the hosts of a place do by themselves.
///
/// # Errors
/// It isn't what it must be.
fn strikes(session: &Session) -> Result<Strikes, Diagnostics> {
    const NAME: &str = "seqn_faults";
    let mut all = Strikes::new();
    for value in session.variable(NAME).map_err(|why| unusable(NAME, &why))? {
        let Some(map) = value.as_map() else { return Err(unusable(NAME, "it isn't a mapping")) };
        for (fault, strike) in map.iter() {
            let fault: Fault = fault.key_text().parse().map_err(|why: String| unusable(NAME, &why))?;
            if fault == Fault::Kill {
                return Err(unusable(NAME, "kill is what happens to the program, not to a host"));
            }
            let strike: Strike = args::from_val(strike).map_err(|e| unusable(NAME, &e.message))?;
            let own = all.entry(fault).or_default();
            // Hosts may share it.
            if !own.contains(&strike) {
                own.push(strike);
            }
        }
    }
    Ok(all)
}

/// How the hosts of the playbook are reached, and those that endpoints are asked from.
///
/// # Errors
/// There is no such host, or its variables can't be rendered.
async fn reached(
    endpoints: &[Endpoint],
    session: Session,
    outputs: &Outputs,
) -> Result<Vec<(String, Connection)>, Diagnostics> {
    let mut hosts = session.hosts();
    hosts.extend(endpoints.iter().filter_map(|e| e.from.clone()));
    hosts.sort();
    hosts.dedup();
    if let Some(host) = hosts.iter().find(|host| session.variables.inventory().host(host).is_none()) {
        let why = format!("there is no host {host} to ask from");
        return Err(unusable("seqn_probe_endpoints", &why));
    }
    let connections = Arc::new(Connections::new());
    let reached = session.reach(&hosts, outputs, &connections).await?;
    connections.close().await;
    Ok(hosts.into_iter().zip(reached).collect())
}
