//! `postgresql_login` (ours): does a password log in, over the network path that a consumer uses?
//!
//! A container's socket and its inner loopback trust everybody, and a healthy service may live on a
//! session from before. So this speaks Postgres's protocol itself, to the server's own address on a
//! network that the consumer shares: the answer has the server's SQLSTATE, a path that trusts is
//! seen as such, and the password is in no process of the host.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value as Json;

use super::{Failure, Module, Plan, PlanCx};
use crate::remote::{Command, RemoteErrorKind};
use crate::source::{Text, Val};

mod wire;

use wire::{Login, Reply};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// The password must log in.
    #[default]
    Accepted,
    /// The password must be refused as wrong (SQLSTATE 28P01).
    Refused,
    /// Only tell.
    Any,
}

fn port() -> u16 {
    5432
}

fn timeout() -> u64 {
    10
}

#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    #[serde(alias = "user")]
    pub login_user: String,
    #[serde(alias = "password")]
    pub login_password: Text,
    #[serde(alias = "db", alias = "database")]
    pub login_db: Option<String>,
    /// An address as the host sees it, instead of a Compose service.
    #[serde(alias = "host")]
    pub login_host: Option<String>,
    /// The server's own port, not a published one, where a service is named.
    #[serde(default = "port", alias = "port")]
    pub login_port: u16,
    /// Directory of the Compose project on the host.
    pub project_src: Option<String>,
    /// The service that is the Postgres server.
    pub service: Option<String>,
    /// A service that logs in there: the address is the one on a network that both share.
    pub consumer: Option<String>,
    #[serde(default)]
    pub expect: Expect,
    /// A path that trusts every password is a warning instead of a failure.
    #[serde(default)]
    pub trust_ok: bool,
    /// Seconds for the whole login.
    #[serde(default = "timeout")]
    pub connect_timeout: u64,
    /// Path of the docker program.
    pub docker_cli: Option<String>,
}

pub struct PostgresqlLogin;

impl Module for PostgresqlLogin {
    type Args = Args;
    const NAME: &'static str = "postgresql_login";
    const COLLECTION: &'static str = "seqn.play";
    const SECRET_ARGS: &'static [&'static str] = &["login_password"];

    fn validate(args: &Args) -> Result<(), String> {
        match (&args.login_host, &args.service, &args.project_src) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => Ok(()),
            (Some(_), ..) => Err("parameters are mutually exclusive: login_host|service".into()),
            _ => Err("one of the following is required: login_host, or project_src and service".into()),
        }
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let path = Path::find(&args, cx).await?;
        let login = Login {
            user: args.login_user.clone(),
            database: args.login_db.clone().unwrap_or_else(|| args.login_user.clone()),
            password: args.login_password.clone(),
        };
        let limit = Duration::from_secs(args.connect_timeout.max(1));
        let talk = async {
            let mut stream = cx.target.connect(&path.host, args.login_port).await.map_err(|e| {
                if e.kind == RemoteErrorKind::Unreachable {
                    return Failure::from(e);
                }
                Failure::new(format!("no connection to Postgres at {path}: {}", e.message)).help(
                    "the sshd of the host must allow forwarding (AllowTcpForwarding), and the server must run",
                )
            })?;
            wire::log_in(&mut stream, &login)
                .await
                .map_err(|why| Failure::new(format!("Postgres at {path} broke the login off: {why}")))
        };
        let reply = tokio::time::timeout(limit, talk).await.map_err(|_| {
            Failure::new(format!("Postgres at {path} did not answer within {} s", limit.as_secs()))
        })??;
        judge(&args, &path, &reply)
    }
}

/// Where the server is.
struct Path {
    host: String,
    port: u16,
    /// The network it was found on.
    network: Option<String>,
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)?;
        match &self.network {
            Some(network) => write!(f, " (network {network})"),
            None => Ok(()),
        }
    }
}

/// Addresses by network of each running container of the project; the format keeps environments
/// out of the answer.
const ADDRESSES: &str = r#"ids=$("$1" compose --project-directory "$2" ps --quiet) || exit
[ -z "$ids" ] || exec "$1" inspect --format '{"service":{{json (index .Config.Labels "com.docker.compose.service")}},"networks":{{json .NetworkSettings.Networks}}}' $ids"#;

impl Path {
    async fn find(args: &Args, cx: &PlanCx<'_>) -> Result<Path, Failure> {
        let port = args.login_port;
        let (Some(dir), Some(server)) = (&args.project_src, &args.service) else {
            return Ok(Path { host: args.login_host.clone().unwrap_or_default(), port, network: None });
        };
        let docker = args.docker_cli.as_deref().unwrap_or("docker");
        let command =
            Command::argv(["/bin/sh", "-c", ADDRESSES, "sh", docker, dir]).timeout(Duration::from_secs(60));
        let output = cx.target.probe(Command { env: cx.environment.to_vec(), ..command }).await?;
        if !output.success() {
            return Err(Failure::new(format!(
                "the containers of {dir} can't be listed: {}",
                output.stderr_text().trim()
            )));
        }
        let (network, host) = shared_address(&output.stdout_text(), server, args.consumer.as_deref())?;
        Ok(Path { host, port, network: Some(network) })
    }
}

/// Network and address of `server` on the first network that `consumer` is on too.
fn shared_address(listing: &str, server: &str, consumer: Option<&str>) -> Result<(String, String), Failure> {
    let rows: Vec<Json> = listing.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let networks = |service: &str| {
        rows.iter()
            .find(|row| row.get("service").and_then(Json::as_str) == Some(service))
            .and_then(|row| row.get("networks")?.as_object())
            .ok_or_else(|| {
                Failure::new(format!("the service {service} has no running container"))
                    .help("look at it on the host: docker compose ps -a")
            })
    };
    let of_consumer = consumer.map(networks).transpose()?;
    networks(server)?
        .iter()
        .filter(|(name, _)| of_consumer.is_none_or(|theirs| theirs.contains_key(*name)))
        .find_map(|(name, at)| {
            let address = ["IPAddress", "GlobalIPv6Address"]
                .iter()
                .find_map(|key| at.get(*key)?.as_str().filter(|a| !a.is_empty()))?;
            Some((name.clone(), address.to_string()))
        })
        .ok_or_else(|| match consumer {
            Some(consumer) => {
                Failure::new(format!("{server} and {consumer} share no network with an address"))
            }
            None => Failure::new(format!("{server} is on no network with an address")),
        })
}

fn judge(args: &Args, path: &Path, reply: &Reply) -> Result<Plan, Failure> {
    let who = format!("{} at {path}", args.login_user);
    let trusts = reply.method == "trust";
    let values = [
        ("accepted", Val::from(reply.error.is_none())),
        ("method", Val::from(reply.method)),
        ("sqlstate", Val::from(reply.error.as_ref().map(|e| e.sqlstate.clone()))),
        ("address", Val::from(format!("{}:{}", path.host, path.port))),
        ("network", Val::from(path.network.clone())),
    ];
    let wrong = match (args.expect, &reply.error) {
        (Expect::Any, _) | (Expect::Accepted, None) => None,
        (Expect::Accepted, Some(error)) => Some(format!("the password does not log in as {who}: {error}")),
        (Expect::Refused, Some(error)) if error.sqlstate == wire::WRONG_PASSWORD => None,
        (Expect::Refused, Some(error)) => Some(format!(
            "the login as {who} was refused, but not for its password (SQLSTATE {}): {error}",
            wire::WRONG_PASSWORD
        )),
        (Expect::Refused, None) if trusts && args.trust_ok => None,
        (Expect::Refused, None) if trusts => Some(format!(
            "{who} trusts every password (pg_hba.conf), so no password can be shown to be refused"
        )),
        (Expect::Refused, None) => Some(format!("the password still logs in as {who}")),
    };
    if let Some(wrong) = wrong {
        let failure = Failure::new(wrong);
        return Err(values.into_iter().fold(failure, |failure, (key, value)| failure.value(key, value)));
    }
    let mut plan = values.into_iter().fold(Plan::ok(), |plan, (key, value)| plan.value(key, value));
    if trusts && args.expect != Expect::Any {
        plan.warnings.push(format!(
            "{who} trusts every password (pg_hba.conf): that a login works proves nothing there"
        ));
    }
    Ok(plan)
}

#[cfg(test)]
mod tests;
