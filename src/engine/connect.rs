//! How a host is reached: Ansible's variables over the task's keywords over the command line.

use std::time::Duration;

use crate::module::Failure;
use crate::playbook::{Keywords, Setting};
use crate::remote::{Become, BecomeMethod, Connection, TransportKind};
use crate::source::args::{parse_bool, scalar_text};
use crate::source::{Text, Val};
use crate::vars::Scope;

use super::Engine;

/// What the command line says about reaching hosts.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    /// `-c`
    pub connection: Option<String>,
    /// `-u`
    pub user: Option<String>,
    /// `-k`
    pub password: Option<Text>,
    /// `--private-key`
    pub private_key: Option<String>,
    /// `--ssh-common-args`, `--ssh-extra-args`
    pub ssh_args: Vec<String>,
    /// `-T`, seconds
    pub timeout: Option<u64>,
    /// `-b`
    pub become_: bool,
    pub become_user: Option<String>,
    pub become_method: Option<String>,
    /// `-K`
    pub become_password: Option<Text>,
    /// `ANSIBLE_HOST_KEY_CHECKING`
    pub host_key_checking: Option<bool>,
}

type Render<'a> = &'a dyn Fn(&Val) -> Result<Val, Failure>;

/// One setting from the first variable that is set, or a keyword.
struct Settings<'a> {
    scope: &'a Scope,
    render: Render<'a>,
}

impl Settings<'_> {
    /// The rendered value of the first of `names` that is defined and not empty.
    fn variable(&self, names: &[&str]) -> Result<Option<Text>, Failure> {
        for name in names {
            let Some((_, raw)) = self.scope.find(name) else { continue };
            match (self.render)(raw)? {
                Val::Null | Val::Omit => {}
                value => match scalar_text(&value) {
                    Some(text) if !text.is_empty() => return Ok(Some(text)),
                    Some(_) => {}
                    None => {
                        return Err(Failure::new(format!(
                            "{name} must be a string, got {}",
                            value.type_name()
                        )));
                    }
                },
            }
        }
        Ok(None)
    }

    fn text(
        &self,
        names: &[&str],
        keyword: Option<&Text>,
        default: Option<&str>,
    ) -> Result<Option<String>, Failure> {
        if let Some(text) = self.variable(names)? {
            return Ok(Some(text.to_string()));
        }
        if let Some(keyword) = keyword {
            match (self.render)(&Val::Text(keyword.clone()))? {
                Val::Null | Val::Omit => {}
                value => return Ok(Some(value.key_text())),
            }
        }
        Ok(default.map(str::to_string))
    }

    fn boolean(
        &self,
        names: &[&str],
        keyword: Option<&Setting<bool>>,
        default: bool,
    ) -> Result<bool, Failure> {
        let wrong = |name: &str, text: &str| Failure::new(format!("{name} must be a boolean, got '{text}'"));
        if let Some(text) = self.variable(names)? {
            return parse_bool(&text).ok_or_else(|| wrong(names[0], text.as_str()));
        }
        match keyword {
            None => Ok(default),
            Some(Setting::Fixed(value)) => Ok(*value),
            Some(Setting::Template(text)) => match (self.render)(&Val::Text(text.clone()))? {
                Val::Null | Val::Omit => Ok(default),
                value => {
                    let text = value.key_text();
                    parse_bool(&text).ok_or_else(|| wrong("become", &text))
                }
            },
        }
    }
}

/// The connection to `host` for a task with these keywords.
///
/// # Errors
/// A variable that can't be rendered, or has a value that can't be used.
pub fn settings(
    engine: &Engine,
    host: &str,
    scope: &Scope,
    keywords: &Keywords,
    render: Render<'_>,
) -> Result<Connection, Failure> {
    let get = Settings { scope, render };
    let cli = &engine.options.connection;
    let implicit_local = engine.variables.inventory().host(host).is_some_and(|h| h.implicit);
    let default = if implicit_local { "local" } else { cli.connection.as_deref().unwrap_or("ssh") };
    let kind =
        get.text(&["ansible_connection"], keywords.connection.as_ref(), Some(default))?.unwrap_or_default();
    let transport = match kind.rsplit('.').next().unwrap_or_default() {
        "ssh" | "smart" | "paramiko" | "paramiko_ssh" => TransportKind::Ssh,
        "native" => TransportKind::Native,
        "local" => TransportKind::Local,
        _ => {
            return Err(Failure::new(format!("the connection '{kind}' is not supported"))
                .help("use ssh, native (a built-in SSH client) or local"));
        }
    };
    let number = |names: &[&str]| -> Result<Option<u64>, Failure> {
        match get.variable(names)? {
            None => Ok(None),
            Some(text) => text.trim().parse().map(Some).map_err(|_| {
                Failure::new(format!("{} must be a whole number, got '{}'", names[0], text.as_str()))
            }),
        }
    };
    let port = match number(&["ansible_port", "ansible_ssh_port"])? {
        Some(port) => Some(port),
        None => match &keywords.port {
            None => None,
            Some(Setting::Fixed(port)) => u64::try_from(*port).ok(),
            Some(Setting::Template(text)) => render(&Val::Text(text.clone()))?.key_text().parse().ok(),
        },
    };
    let port = match port.map(u16::try_from) {
        None => None,
        Some(Ok(port)) => Some(port),
        Some(Err(_)) => return Err(Failure::new("ansible_port must be between 1 and 65535")),
    };
    let mut ssh_args = Vec::new();
    for names in [&["ansible_ssh_common_args"][..], &["ansible_ssh_extra_args"]] {
        if let Some(text) = get.variable(names)? {
            ssh_args.extend(
                shell_words::split(&text)
                    .map_err(|_| Failure::new(format!("{} has an unclosed quote", names[0])))?,
            );
        }
    }
    for given in &cli.ssh_args {
        ssh_args.extend(
            shell_words::split(given).map_err(|_| Failure::new("--ssh-common-args has an unclosed quote"))?,
        );
    }
    let host_key_checking =
        match get.variable(&["ansible_host_key_checking", "ansible_ssh_host_key_checking"])? {
            Some(text) => parse_bool(&text).unwrap_or(true),
            None => cli.host_key_checking.unwrap_or(true),
        };
    let password = match get.variable(&["ansible_password", "ansible_ssh_pass", "ansible_ssh_password"])? {
        Some(password) => Some(password.into_secret()),
        None => cli.password.clone(),
    };
    if let Some(password) = &password {
        engine.redactor.register(password);
    }
    Ok(Connection {
        transport,
        address: get.text(&["ansible_host", "ansible_ssh_host"], None, Some(host))?.unwrap_or_default(),
        port,
        user: get.text(
            &["ansible_user", "ansible_ssh_user"],
            keywords.remote_user.as_ref(),
            cli.user.as_deref(),
        )?,
        password,
        private_key: get
            .text(
                &["ansible_private_key_file", "ansible_ssh_private_key_file"],
                None,
                cli.private_key.as_deref(),
            )?
            .map(|path| expand_home(&path).into()),
        ssh_args,
        host_key_checking,
        timeout: Duration::from_secs(
            number(&["ansible_ssh_timeout", "ansible_timeout"])?.or(cli.timeout).unwrap_or(10),
        ),
        become_: become_settings(engine, &get, keywords)?,
    })
}

fn become_settings(
    engine: &Engine,
    get: &Settings<'_>,
    keywords: &Keywords,
) -> Result<Option<Become>, Failure> {
    let cli = &engine.options.connection;
    if !get.boolean(&["ansible_become"], keywords.become_.as_ref(), cli.become_)? {
        return Ok(None);
    }
    let method = get
        .text(&["ansible_become_method"], keywords.become_method.as_ref(), cli.become_method.as_deref())?
        .unwrap_or("sudo".into());
    let method = match method.rsplit('.').next().unwrap_or_default() {
        "sudo" => BecomeMethod::Sudo,
        "su" => BecomeMethod::Su,
        "doas" => BecomeMethod::Doas,
        _ => {
            return Err(Failure::new(format!("the become method '{method}' is not supported"))
                .help("use sudo, su or doas"));
        }
    };
    let password =
        match get.variable(&["ansible_become_password", "ansible_become_pass", "ansible_sudo_pass"])? {
            Some(password) => Some(password.into_secret()),
            None => cli.become_password.clone(),
        };
    if let Some(password) = &password {
        engine.redactor.register(password);
    }
    Ok(Some(Become {
        method,
        user: get
            .text(&["ansible_become_user"], keywords.become_user.as_ref(), cli.become_user.as_deref())?
            .unwrap_or("root".into()),
        password,
        flags: get.text(&["ansible_become_flags"], keywords.become_flags.as_ref(), None)?,
        exe: get.text(&["ansible_become_exe"], keywords.become_exe.as_ref(), None)?,
    }))
}

fn expand_home(path: &str) -> String {
    match (path.strip_prefix("~/"), std::env::var("HOME")) {
        (Some(rest), Ok(home)) => format!("{home}/{rest}"),
        _ => path.to_string(),
    }
}
