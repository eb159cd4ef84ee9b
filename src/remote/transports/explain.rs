//! Why there is no connection, in words that tell what to do: the same for every transport.

use crate::remote::connections::Connection;
use crate::remote::{RemoteError, RemoteErrorKind};

pub fn unreachable(message: String) -> RemoteError {
    RemoteError { kind: RemoteErrorKind::Unreachable, message, help: None }
}

/// Nobody to talk to.
pub fn no_connection(connection: &Connection, what: &str) -> RemoteError {
    unreachable(format!("Failed to connect to the host via ssh: {}: {what}", connection.place()))
}

pub fn no_answer(connection: &Connection, seconds: u64) -> RemoteError {
    no_connection(connection, &format!("no answer within {seconds} s"))
}

/// Another key than the one at `recorded` (`FILE:LINE`).
pub fn changed_host_key(connection: &Connection, recorded: Option<&str>) -> RemoteError {
    let recorded = recorded.map(|place| format!("; the one it had is at {place}")).unwrap_or_default();
    let name = match connection.port {
        Some(port) if port != 22 => format!("'[{}]:{port}'", connection.address),
        _ => connection.address.clone(),
    };
    unreachable(format!(
        "the host key of {} has CHANGED: this may be another machine, or somebody in between{recorded}",
        connection.address
    ))
    .with_help(format!("if the host was set up anew, check its key there, then: ssh-keygen -R {name}"))
}

/// `found` says more of the key: its fingerprint, and what else is known of the host.
pub fn unknown_host_key(connection: &Connection, found: &str) -> RemoteError {
    let port = connection.port.map(|p| format!(" -p {p}")).unwrap_or_default();
    unreachable(format!("the host key of {} is not known{found}", connection.address)).with_help(format!(
        "connect once by hand and compare the fingerprint: ssh{port} {}",
        connection.address
    ))
}

pub fn refused_login(connection: &Connection, said: &str) -> RemoteError {
    let tried = match (&connection.password, &connection.private_key) {
        (Some(_), _) => "the password".to_string(),
        (None, Some(key)) => format!("the key {}", key.display()),
        (None, None) => "the keys of the agent and of ~/.ssh".to_string(),
    };
    unreachable(format!("{} refused the login with {tried}: {said}", connection.place())).with_help(
        "check the user (-u, ansible_user) and the key (--private-key), or give a password with -k",
    )
}
