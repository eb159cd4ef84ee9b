use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::fault::Faults;
use crate::place::{Place, write_private};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Docker,
    Sandbox,
}

/// How to reach a raised VPS, and what is on it. Its passwords are staging's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raised {
    pub kind: Kind,
    pub name: String,
    pub ssh_host: String,
    pub ssh_port: u16,
    pub ssh_user: String,
    /// For sudo, for su to root, and for a login of `ssh_user` with a password where that is offered.
    pub sudo_password: String,
    /// A second login user with the same key, whose sudo asks for no password.
    pub nopasswd_user: Option<String>,
    pub private_key: PathBuf,
    pub known_hosts: PathBuf,
    /// The Compose project's directory, as seen on the VPS.
    pub project_dir: PathBuf,
    pub compose_project: String,
    pub backup_dir: PathBuf,
    pub offsite_dir: PathBuf,
    /// As seen on the VPS.
    pub api_url: String,
    /// As seen on the VPS.
    pub authentik_url: String,
    pub silver_pg_port: Option<u16>,
    pub authentik_pg_port: Option<u16>,
    /// Never on the VPS.
    pub age_identity: PathBuf,
    pub age_recipient: String,
    /// A person of the application, for POST /login.
    pub login_user: String,
    pub login_password: String,
    /// What can happen to it, and how: `seqn_faults` of a rehearsal.
    pub faults: Faults,
    #[serde(flatten)]
    pub seqn: Seqn,
}

/// What SEQN Auth and its consumers are set up with. Each is a host variable too, `seqn_` before its
/// name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seqn {
    pub console_url: String,
    pub console_token: String,
    pub authentik_admin_token: String,
    pub project: String,
    pub canary_project: String,
    pub shop_webhook_endpoint: String,
    pub legacy_webhook_endpoint: String,
    pub shop_backend_url: String,
    pub reports_backend_url: String,
    pub shop_webhooks_url: String,
    pub legacy_webhooks_url: String,
}

impl Raised {
    pub fn load(place: &Place) -> Result<Raised> {
        let path = place.raised_json();
        let text = fs::read_to_string(&path)
            .with_context(|| format!("nothing is raised in {}", place.dir().display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    pub(crate) fn save(&self, place: &Place) -> Result<()> {
        write_private(&place.raised_yml(), &self.host_vars()?)?;
        // Last, because its presence says that all the rest is there.
        write_private(&place.raised_json(), &(serde_json::to_string(self)? + "\n"))
    }

    /// A login as `ssh_user` that asks nothing; add the remote command.
    pub fn ssh(&self) -> Command {
        self.ssh_as(&self.ssh_user)
    }

    pub fn ssh_as(&self, user: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"])
            .args(["-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=5"])
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", self.known_hosts.display()))
            .arg("-i")
            .arg(&self.private_key)
            .args(["-p", &self.ssh_port.to_string()])
            .arg(format!("{user}@{}", self.ssh_host));
        ssh
    }

    /// Ansible host variables for the host `vps`.
    fn host_vars(&self) -> Result<String> {
        let ssh_args = format!(
            "-o UserKnownHostsFile={} -o StrictHostKeyChecking=yes -F none",
            self.known_hosts.display()
        );
        let texts = [
            ("ansible_host", self.ssh_host.clone()),
            ("ansible_user", self.ssh_user.clone()),
            ("ansible_ssh_private_key_file", shown(&self.private_key)),
            ("ansible_ssh_common_args", ssh_args),
            ("ansible_become_password", self.sudo_password.clone()),
            ("seqn_known_hosts_file", shown(&self.known_hosts)),
            ("seqn_project_dir", shown(&self.project_dir)),
            ("seqn_compose_project", self.compose_project.clone()),
            ("seqn_api_url", self.api_url.clone()),
            ("seqn_authentik_url", self.authentik_url.clone()),
            ("seqn_backup_dir", shown(&self.backup_dir)),
            ("seqn_offsite_dir", shown(&self.offsite_dir)),
            ("seqn_age_identity_file", shown(&self.age_identity)),
            ("seqn_login_user", self.login_user.clone()),
            ("seqn_login_password", self.login_password.clone()),
        ];
        let mut yaml = format!("---\nansible_port: {}\n", self.ssh_port);
        for (key, value) in texts {
            // A JSON string is also a YAML string.
            let _ = writeln!(yaml, "{key}: {}", serde_json::Value::String(value));
        }
        let _ = writeln!(yaml, "seqn_faults: {}", serde_json::to_string(&self.faults)?);
        if let serde_json::Value::Object(seqn) = serde_json::to_value(&self.seqn)? {
            for (key, value) in seqn {
                let _ = writeln!(yaml, "seqn_{key}: {value}");
            }
        }
        Ok(yaml)
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
