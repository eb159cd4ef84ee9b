//! What the built-in client is told: by the inventory, by `ssh` arguments, by `~/.ssh/config`.
//!
//! One rule for everything that `ssh` knows and this client doesn't: an option that has no effect
//! on a session without a terminal is passed over, any other is an error that names its place.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::settings::Settings;
use crate::remote::connections::Connection;
use crate::remote::{RemoteError, RemoteErrorKind};

/// Where files and names come from when nothing says so.
pub struct Surroundings {
    pub home: PathBuf,
    pub user: String,
    pub agent: Option<PathBuf>,
    pub system: PathBuf,
}

impl Surroundings {
    pub fn here() -> Surroundings {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let account = account();
        Surroundings {
            home: set("HOME")
                .map(PathBuf::from)
                .or(account.as_ref().map(|a| a.1.clone()))
                .unwrap_or_default(),
            user: account
                .map(|a| a.0)
                .or(set("USER").map(|user| user.to_string_lossy().into_owned()))
                .unwrap_or_default(),
            agent: set("SSH_AUTH_SOCK").map(PathBuf::from),
            system: "/etc/ssh".into(),
        }
    }
}

/// Name and home of who runs this.
fn account() -> Option<(String, PathBuf)> {
    use std::os::unix::ffi::OsStrExt;
    let mut buffer = vec![0; 16 << 10];
    // SAFETY: all pointers are valid for the call; what it fills in points into `buffer`.
    unsafe {
        let mut entry: libc::passwd = std::mem::zeroed();
        let mut found = std::ptr::null_mut();
        let status =
            libc::getpwuid_r(libc::getuid(), &mut entry, buffer.as_mut_ptr(), buffer.len(), &mut found);
        if status != 0 || found.is_null() {
            return None;
        }
        let text = |pointer| std::ffi::CStr::from_ptr(pointer).to_bytes().to_vec();
        Some((
            String::from_utf8_lossy(&text(entry.pw_name)).into_owned(),
            std::ffi::OsStr::from_bytes(&text(entry.pw_dir)).into(),
        ))
    }
}

/// `StrictHostKeyChecking`. `ask` is `Yes`: nobody can answer in the middle of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strict {
    Yes,
    AcceptNew,
    No,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    PublicKey,
    Password,
    KeyboardInteractive,
}

/// Everything that a connection needs to know.
#[derive(Debug)]
pub struct Options {
    /// What to connect to.
    pub host: String,
    /// What known_hosts files call it.
    pub known_as: String,
    /// Where known_hosts files may name the host without its port.
    pub known_without_port: Option<String>,
    pub port: u16,
    pub user: String,
    pub identity_files: Vec<PathBuf>,
    /// Somebody named them: it is worth telling why one isn't used.
    pub identities_named: bool,
    /// Of the agent's keys, only those of `identity_files`.
    pub identities_only: bool,
    pub agent: Option<PathBuf>,
    /// In which order to log in.
    pub methods: Vec<Method>,
    pub user_known_hosts: Vec<PathBuf>,
    pub global_known_hosts: Vec<PathBuf>,
    pub hash_known_hosts: bool,
    pub strict: Strict,
    pub timeout: Duration,
    pub attempts: u32,
    pub alive_interval: Duration,
    pub alive_count: u32,
    /// Neither, or only one of IPv4 and IPv6.
    pub only_ipv6: Option<bool>,
}

fn refused(message: String) -> RemoteError {
    RemoteError { kind: RemoteErrorKind::Unreachable, message, help: None }
        .with_help("take it away, or use the user's own ssh: -c ssh")
}

impl Options {
    /// # Errors
    /// An option that this client doesn't understand, or that makes no sense.
    pub fn resolve(connection: &Connection, around: &Surroundings) -> Result<Options, RemoteError> {
        let settings = Settings::gather(connection, around).map_err(refused)?;
        Options::from(&settings, connection, around).map_err(refused)
    }

    fn from(settings: &Settings, connection: &Connection, around: &Surroundings) -> Result<Options, String> {
        for jump in ["proxyjump", "proxycommand"] {
            if settings.get(jump).is_some_and(|value| !value.eq_ignore_ascii_case("none")) {
                return Err(format!(
                    "{} is reached through another host ({}), which the built-in SSH client doesn't do",
                    connection.address,
                    settings.place(jump)
                ));
            }
        }
        let named = &connection.address;
        let expand = |text: &str, host: &str, port: u16, user: &str| {
            expand(text, &[('h', host), ('n', named), ('p', &port.to_string()), ('r', user)], around)
        };
        let port = match settings.number("port")? {
            None => 22,
            Some(port) => u16::try_from(port)
                .ok()
                .filter(|p| *p > 0)
                .ok_or_else(|| format!("{}: a port is between 1 and 65535", settings.place("port")))?,
        };
        let user = settings.get("user").unwrap_or(&around.user).to_string();
        let host = match settings.get("hostname") {
            Some(text) => expand(text, named, port, &user)?,
            None => named.clone(),
        };
        let files = |texts: Vec<String>| -> Result<Vec<PathBuf>, String> {
            let texts = texts.into_iter().filter(|t| !t.eq_ignore_ascii_case("none"));
            texts.map(|text| Ok(PathBuf::from(expand(&text, &host, port, &user)?))).collect()
        };
        let (known_as, known_without_port) = match settings.get("hostkeyalias") {
            Some(alias) => (alias.to_lowercase(), None),
            None => (
                super::known_hosts::name(&host, port),
                (port != 22).then(|| super::known_hosts::name(&host, 22)),
            ),
        };
        let known_hosts = |keyword: &str, default: [PathBuf; 2]| match settings.words(keyword) {
            Some(words) => files(words),
            None => Ok(default.into()),
        };
        let ssh = around.home.join(".ssh");
        let identities_named = !settings.identity_files.is_empty();
        let identity_files = match identities_named {
            true => files(settings.identity_files.clone())?,
            false => ["id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"]
                .map(|name| ssh.join(name))
                .into(),
        };
        let agent = match settings.get("identityagent") {
            None | Some("SSH_AUTH_SOCK") => around.agent.clone(),
            Some(none) if none.eq_ignore_ascii_case("none") => None,
            Some(variable) if variable.starts_with('$') => {
                std::env::var_os(&variable[1..]).map(PathBuf::from)
            }
            Some(path) => Some(PathBuf::from(expand(path, &host, port, &user)?)),
        };
        let seconds = |keyword: &str| -> Result<Option<Duration>, String> {
            Ok(settings.number(keyword)?.map(Duration::from_secs))
        };
        Ok(Options {
            known_as,
            known_without_port,
            port,
            user_known_hosts: known_hosts(
                "userknownhostsfile",
                [ssh.join("known_hosts"), ssh.join("known_hosts2")],
            )?,
            global_known_hosts: known_hosts(
                "globalknownhostsfile",
                [around.system.join("ssh_known_hosts"), around.system.join("ssh_known_hosts2")],
            )?,
            identity_files,
            identities_named,
            identities_only: settings.flag("identitiesonly")?.unwrap_or(false),
            agent,
            methods: methods(settings, connection)?,
            hash_known_hosts: settings.flag("hashknownhosts")?.unwrap_or(false),
            strict: strict(settings, connection)?,
            timeout: seconds("connecttimeout")?.filter(|t| !t.is_zero()).unwrap_or(connection.timeout),
            attempts: settings.number("connectionattempts")?.unwrap_or(1).clamp(1, 100) as u32,
            // A silent host must be noticed, so there is no way to ask for no interval.
            alive_interval: seconds("serveraliveinterval")?
                .filter(|t| !t.is_zero())
                .unwrap_or(Duration::from_secs(15)),
            alive_count: settings.number("serveralivecountmax")?.unwrap_or(4).clamp(1, 1000) as u32,
            only_ipv6: match settings.get("addressfamily").map(str::to_lowercase).as_deref() {
                None | Some("any") => None,
                Some("inet") => Some(false),
                Some("inet6") => Some(true),
                Some(_) => {
                    return Err(format!("{}: it is any, inet or inet6", settings.place("addressfamily")));
                }
            },
            host,
            user,
        })
    }
}

fn strict(settings: &Settings, connection: &Connection) -> Result<Strict, String> {
    let keyword = "stricthostkeychecking";
    match settings.get(keyword).map(str::to_lowercase).as_deref() {
        None if connection.host_key_checking => Ok(Strict::Yes),
        None => Ok(Strict::No),
        Some("yes" | "true" | "ask") => Ok(Strict::Yes),
        Some("accept-new") => Ok(Strict::AcceptNew),
        Some("no" | "false" | "off") => Ok(Strict::No),
        Some(_) => Err(format!("{}: it is yes, accept-new or no", settings.place(keyword))),
    }
}

/// With a password only the ways that take one, as for `-c ssh`; else keys.
fn methods(settings: &Settings, connection: &Connection) -> Result<Vec<Method>, String> {
    let preferred = match settings.get("preferredauthentications") {
        Some(list) => list
            .split(',')
            .filter_map(|name| match name.trim() {
                "publickey" => Some(Method::PublicKey),
                "password" => Some(Method::Password),
                "keyboard-interactive" => Some(Method::KeyboardInteractive),
                _ => None,
            })
            .collect(),
        None if connection.password.is_some() => vec![Method::Password, Method::KeyboardInteractive],
        None => vec![Method::PublicKey],
    };
    let mut allowed = Vec::new();
    for method in preferred {
        let keywords: &[&str] = match method {
            Method::PublicKey => &["pubkeyauthentication"],
            Method::Password => &["passwordauthentication"],
            Method::KeyboardInteractive => {
                &["kbdinteractiveauthentication", "challengeresponseauthentication"]
            }
        };
        let mut on = true;
        for keyword in keywords {
            on &= settings.flag(keyword)?.unwrap_or(true);
        }
        let possible = method == Method::PublicKey || connection.password.is_some();
        if on && possible {
            allowed.push(method);
        }
    }
    Ok(allowed)
}

/// `~` and the `%` tokens that name hosts, users and folders.
fn expand(text: &str, tokens: &[(char, &str)], around: &Surroundings) -> Result<String, String> {
    let home = around.home.display().to_string();
    let text = match text.strip_prefix("~/") {
        Some(rest) => format!("{home}/{rest}"),
        None => text.to_string(),
    };
    let mut expanded = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            expanded.push(c);
            continue;
        }
        match chars.next() {
            Some('%') => expanded.push('%'),
            Some('d') => expanded.push_str(&home),
            Some('u') => expanded.push_str(&around.user),
            token => match tokens.iter().find(|(name, _)| Some(*name) == token) {
                Some((_, value)) => expanded.push_str(value),
                None => {
                    return Err(format!(
                        "the built-in SSH client doesn't know %{} in {text}",
                        token.map(String::from).unwrap_or_default()
                    ));
                }
            },
        }
    }
    Ok(expanded)
}

/// The user's and the system's files, in the order in which `ssh` reads them.
pub fn config_files(around: &Surroundings) -> [(PathBuf, PathBuf); 2] {
    let user = around.home.join(".ssh");
    let with = |folder: &Path, name: &str| (folder.join(name), folder.to_path_buf());
    [with(&user, "config"), with(&around.system, "ssh_config")]
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
