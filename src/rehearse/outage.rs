//! What a user of a service saw: a prober that asks endpoints ten times a second while something is
//! done to them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::remote::{Connection, Connections, Follow, HttpFailure, HttpRequest, Target, Tls, http};
use crate::report::rehearsal::{Outage, Watched};
use crate::source::Text;

const INTERVAL: Duration = Duration::from_millis(100);

/// Who doesn't answer in this time is away.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a place may take to be well again once nobody does anything to it.
const WELL_AGAIN: Duration = Duration::from_secs(20);

/// A longer answer is cut off.
const MAX_BODY: u64 = 1 << 20;

/// One entry of `seqn_probe_endpoints`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    pub name: String,
    pub url: Text,
    /// Any of these is well; -1 stands for no answer, as for `uri`.
    #[serde(default = "ok")]
    pub status: Vec<i32>,
    /// A host of the inventory whose network it is asked from; else this machine.
    pub from: Option<String>,
    /// A longer outage fails the rehearsal.
    pub max_outage: Option<Most>,
}

/// Seconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Most {
    Always(f64),
    /// By the name of the playbook's file; `default` of all others.
    Of(BTreeMap<String, f64>),
}

impl Most {
    fn all(&self) -> Vec<f64> {
        match self {
            Most::Always(most) => vec![*most],
            Most::Of(playbooks) => playbooks.values().copied().collect(),
        }
    }
}

fn ok() -> Vec<i32> {
    vec![200]
}

const NO_ANSWER: i32 = -1;

impl Endpoint {
    /// For how long it may be away while these playbooks are run.
    pub fn most(&self, playbooks: &[PathBuf]) -> Option<f64> {
        let of = |names: &BTreeMap<String, f64>, playbook: &PathBuf| {
            let name = playbook.file_name().unwrap_or_default().to_string_lossy();
            names.get(&*name).or_else(|| names.get("default")).copied()
        };
        match self.max_outage.as_ref()? {
            Most::Always(most) => Some(*most),
            Most::Of(names) => playbooks.iter().filter_map(|playbook| of(names, playbook)).reduce(f64::max),
        }
    }

    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let is_http = self.url.starts_with("http://") || self.url.starts_with("https://");
        match () {
            () if !is_http => Err(format!("{}: the url must begin with http:// or https://", self.name)),
            () if self.status.is_empty() => Err(format!("{}: no status would be well", self.name)),
            () if self.max_outage.as_ref().is_some_and(|most| most.all().iter().any(|s| *s < 0.0)) => {
                Err(format!("{}: max_outage must not be negative", self.name))
            }
            () => Ok(()),
        }
    }
}

/// The endpoints, each with whose network asks it. One connection to each host.
pub struct Endpoints {
    connections: Connections,
    all: Vec<(Endpoint, Target)>,
}

impl Endpoints {
    /// `reach`: how a host of the inventory is reached.
    ///
    /// # Errors
    /// One of the hosts can't be.
    pub async fn connect(
        endpoints: &[Endpoint],
        playbooks: &[PathBuf],
        reach: &[(String, Connection)],
    ) -> Result<Endpoints, String> {
        let connections = Connections::new();
        let mut all = Vec::new();
        for endpoint in endpoints {
            let target = match &endpoint.from {
                None => connections.operator().await,
                Some(from) => match reach.iter().find(|(name, _)| name == from) {
                    Some((name, connection)) => connections.target(name, connection).await,
                    None => return Err(format!("{}: there is no host {from} to ask it from", endpoint.name)),
                },
            };
            let target = target.map_err(|e| format!("{}: {}", endpoint.name, e.message))?;
            let endpoint =
                Endpoint { max_outage: endpoint.most(playbooks).map(Most::Always), ..endpoint.clone() };
            all.push((endpoint, target));
        }
        Ok(Endpoints { connections, all })
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Asks until it is told to stop.
    pub fn watch(&self) -> Prober {
        let (stop, stopped) = watch::channel(false);
        let began = Instant::now();
        let probe = |(endpoint, target): &(Endpoint, Target)| {
            tokio::spawn(probe(endpoint.clone(), target.clone(), began, stopped.clone()))
        };
        Prober { stop, watching: self.all.iter().map(probe).collect() }
    }

    /// What isn't well within a while; nothing where all is.
    pub async fn not_well(&self) -> Vec<String> {
        let until = Instant::now() + WELL_AGAIN;
        let mut found = Vec::new();
        for (endpoint, target) in &self.all {
            while let Err(why) = ask(endpoint, target).await {
                if Instant::now() > until {
                    found.push(format!("{} ({}): {why}", endpoint.name, endpoint.url.as_str()));
                    break;
                }
                tokio::time::sleep(INTERVAL).await;
            }
        }
        found
    }

    pub async fn close(&self) {
        self.connections.close().await;
    }
}

pub struct Prober {
    stop: watch::Sender<bool>,
    watching: Vec<JoinHandle<Watched>>,
}

impl Prober {
    /// # Errors
    /// One of them died, and so saw nothing.
    pub async fn stop(self) -> Result<Vec<Watched>, String> {
        self.stop.send(true).ok();
        let mut all = Vec::new();
        for one in self.watching {
            all.push(one.await.map_err(|why| format!("the prober of an endpoint died: {why}"))?);
        }
        Ok(all)
    }
}

async fn probe(
    endpoint: Endpoint,
    target: Target,
    began: Instant,
    mut stopped: watch::Receiver<bool>,
) -> Watched {
    let mut watched = Watched {
        name: endpoint.name.clone(),
        url: endpoint.url.as_str().to_string(),
        probes: 0,
        outages: Vec::new(),
        max_outage: endpoint.most(&[]),
    };
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_well = 0.0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.wait_for(|stop| *stop) => break,
        }
        let at = began.elapsed().as_secs_f64();
        let answer = ask(&endpoint, &target).await;
        watched.probes += 1;
        let open = watched.outages.last_mut().filter(|o| o.open);
        match (answer, open) {
            (Ok(()), open) => {
                if let Some(outage) = open {
                    outage.to = at;
                    outage.open = false;
                }
                last_well = at;
            }
            (Err(_), Some(_)) => {}
            (Err(why), None) => watched.outages.push(Outage { from: last_well, to: at, why, open: true }),
        }
    }
    if let Some(outage) = watched.outages.last_mut().filter(|o| o.open) {
        outage.to = began.elapsed().as_secs_f64();
    }
    watched
}

async fn ask(endpoint: &Endpoint, target: &Target) -> Result<(), String> {
    let request = HttpRequest {
        method: "GET".into(),
        url: endpoint.url.clone(),
        headers: vec![("Connection".into(), Text::new("close"))],
        body: None,
        follow: Follow::Safe,
        timeout: PATIENCE,
        max_body: MAX_BODY,
        tls: Tls::default(),
    };
    match http::send(target, &request).await.result {
        Ok(response) if endpoint.status.contains(&response.status.into()) => Ok(()),
        Err(_) if endpoint.status.contains(&NO_ANSWER) => Ok(()),
        Ok(response) => Err(format!("status {}", response.status)),
        Err(HttpFailure::Request(why)) => Err(why),
        Err(HttpFailure::Remote(why)) => Err(why.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_playbook_may_have_an_outage_of_its_own() {
        let endpoint = |most: &str| Endpoint {
            name: "x".into(),
            url: Text::new("http://x/"),
            status: ok(),
            from: None,
            max_outage: serde_json::from_str(most).expect("seconds"),
        };
        let most = |most: &str, playbooks: &[&str]| {
            endpoint(most).most(&playbooks.iter().map(PathBuf::from).collect::<Vec<_>>())
        };
        let map = r#"{"default": 0, "long.yml": 9}"#;
        assert_eq!(most("3", &["a.yml"]), Some(3.0));
        assert_eq!(most(map, &["/srv/playbooks/long.yml"]), Some(9.0));
        assert_eq!(most(map, &["short.yml"]), Some(0.0));
        assert_eq!(most(map, &["short.yml", "long.yml"]), Some(9.0));
        assert_eq!(most(r#"{"long.yml": 9}"#, &["short.yml"]), None);
        assert!(endpoint(r#"{"default": -1}"#).check().is_err());
    }
}
