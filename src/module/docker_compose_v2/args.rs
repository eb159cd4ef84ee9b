//! The arguments of `docker_compose_v2`, as community.docker's module has them.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::source::Val;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Absent,
    #[default]
    Present,
    Stopped,
    Restarted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Recreate {
    Always,
    Never,
    #[default]
    Auto,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pull {
    Always,
    Missing,
    Never,
    #[default]
    Policy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Build {
    Always,
    Never,
    #[default]
    Policy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RemoveImages {
    All,
    Local,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Directory of the project on the host.
    pub project_src: Option<String>,
    /// Name of the project; otherwise Compose takes it from `COMPOSE_PROJECT_NAME`, the file or the
    /// directory.
    pub project_name: Option<String>,
    /// Compose files, relative to `project_src`, instead of the default ones.
    pub files: Option<Vec<String>>,
    /// Not supported: a Compose file belongs on the host, under `project_src`.
    pub definition: Option<Val>,
    /// Files to read variables from instead of `.env`.
    pub env_files: Option<Vec<String>>,
    pub profiles: Option<Vec<String>>,
    /// Whether one of the default files must exist when `files` isn't given.
    #[serde(default = "yes")]
    pub check_files_existing: bool,
    /// `present`: up; `stopped`: stop; `absent`: down; `restarted`: restart, which doesn't read
    /// `.env` again.
    #[serde(default)]
    pub state: State,
    /// The services to act on; all of them if empty.
    #[serde(default)]
    pub services: Vec<String>,
    /// Whether the services that these depend on are included.
    #[serde(default = "yes")]
    pub dependencies: bool,
    /// `auto`: where the configuration changed; `always`, `never`.
    #[serde(default)]
    pub recreate: Recreate,
    #[serde(default)]
    pub renew_anon_volumes: bool,
    #[serde(default)]
    pub pull: Pull,
    #[serde(default)]
    pub build: Build,
    /// Whether building an image counts as no change while the containers stay.
    #[serde(default = "yes")]
    pub ignore_build_events: bool,
    /// With `absent`.
    pub remove_images: Option<RemoveImages>,
    /// With `absent`: the data goes with them.
    #[serde(default)]
    pub remove_volumes: bool,
    #[serde(default)]
    pub remove_orphans: bool,
    /// Seconds that a container gets to stop before it is killed.
    pub timeout: Option<u64>,
    /// How many containers of a service.
    #[serde(default)]
    pub scale: BTreeMap<String, u32>,
    /// With `present`: wait until the services run and are healthy.
    #[serde(default)]
    pub wait: bool,
    /// Seconds.
    pub wait_timeout: Option<u64>,
    /// Answer Compose's questions with yes (Compose 2.32 or later).
    #[serde(default)]
    pub assume_yes: bool,
    /// Path of the docker program.
    pub docker_cli: Option<String>,
    #[serde(alias = "docker_url")]
    pub docker_host: Option<String>,
    pub cli_context: Option<String>,
    #[serde(alias = "docker_api_version")]
    pub api_version: Option<String>,
    pub tls_hostname: Option<String>,
    #[serde(default)]
    pub tls: bool,
    #[serde(default, alias = "tls_verify")]
    pub validate_certs: bool,
    #[serde(alias = "ca_cert", alias = "tls_ca_cert", alias = "cacert_path")]
    pub ca_path: Option<String>,
    #[serde(alias = "tls_client_cert", alias = "cert_path")]
    pub client_cert: Option<String>,
    #[serde(alias = "tls_client_key", alias = "key_path")]
    pub client_key: Option<String>,
}
