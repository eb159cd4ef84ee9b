//! Postgres client programs inside a container: a service's name leads to its address, where a
//! password is asked for, and the container's own loopback to its socket, where none is.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use super::docker::container::{CONTAINER_MARK, Container, Image, SOCKET_DIR};
use super::machine::Machine;

/// In whose name a client connects where neither arguments nor environment say it.
pub const USER: &str = "SEQN_STAGING_PGUSER";

/// Becomes the real client; it comes back only when that fails.
pub fn run(machine: &Machine, program: &str, args: Vec<String>) -> Result<u8> {
    let id = std::env::var(CONTAINER_MARK).context("this runs inside a container only")?;
    let container = Container::load(machine, &id)?;
    let socket = match container.image {
        Image::Postgres => machine.socket_dir(&container.id).display().to_string(),
        Image::Services => String::new(),
    };
    let net = Net { container: &container, socket: &socket };
    let mut args = args;
    let mut named = None;
    for host in hosts(&mut args) {
        let meant = net.lead(host.value());
        if let Led::Socket = meant {
            host.replace(&socket);
        }
        named = Some(meant);
    }
    let mut client = Command::new(machine.postgres.bin.join(program));
    let led = match named {
        Some(led) => led,
        None => match std::env::var("PGHOST") {
            Ok(host) if !host.is_empty() => {
                let led = net.lead(&host);
                if let Led::Socket = led {
                    client.env("PGHOST", &socket);
                }
                led
            }
            _ => {
                client.env("PGHOST", &socket);
                Led::Socket
            }
        },
    };
    match led {
        Led::Address(address) => {
            client.env("PGHOSTADDR", address);
        }
        Led::Socket => {
            client.env_remove("PGHOSTADDR");
        }
        Led::Elsewhere => {}
    }
    if std::env::var_os("PGUSER").is_none() {
        client.env("PGUSER", std::env::var(USER).unwrap_or_else(|_| "postgres".to_owned()));
    }
    let error = client.args(args).exec();
    Err(error).with_context(|| format!("cannot run {program}"))
}

/// Where a host's name leads.
#[derive(Debug, PartialEq, Eq)]
enum Led {
    Socket,
    Address(String),
    /// Not into the sandbox; the client will say that it finds no such host.
    Elsewhere,
}

struct Net<'a> {
    container: &'a Container,
    socket: &'a str,
}

impl Net<'_> {
    fn lead(&self, host: &str) -> Led {
        if ["localhost", "127.0.0.1", "::1", "[::1]", SOCKET_DIR, "/run/postgresql"].contains(&host)
            || host.is_empty()
        {
            return match self.socket {
                "" => Led::Elsewhere,
                _ => Led::Socket,
            };
        }
        let own = [self.container.short_id(), self.container.name.as_str()];
        if own.contains(&host) {
            return Led::Address(self.container.address.clone());
        }
        let mut hosts = self.container.hosts.iter();
        match hosts.find(|(name, address)| name == host || address == host) {
            Some((_, address)) => Led::Address(address.clone()),
            None => Led::Elsewhere,
        }
    }
}

/// A host within an argument.
struct Host<'a> {
    argument: &'a mut String,
    start: usize,
    end: usize,
    /// In an URL a path must be escaped.
    in_url: bool,
}

impl Host<'_> {
    fn value(&self) -> &str {
        &self.argument[self.start..self.end]
    }

    fn replace(self, with: &str) {
        let with = match self.in_url {
            true => with.replace('/', "%2F"),
            false => with.to_owned(),
        };
        self.argument.replace_range(self.start..self.end, &with);
    }
}

/// Finds the hosts that the arguments name, as the option or in a connection string.
fn hosts(args: &mut [String]) -> Vec<Host<'_>> {
    let mut found = Vec::new();
    let mut option: Option<char> = None;
    for argument in args {
        match option.take() {
            Some('h') => {
                let end = argument.len();
                found.push(Host { argument, start: 0, end, in_url: false });
                continue;
            }
            Some('d') => {
                found.extend(in_connection_string(argument, 0));
                continue;
            }
            Some(_) => continue,
            None => {}
        }
        match argument.as_str() {
            "-h" | "--host" => option = Some('h'),
            "-d" | "--dbname" => option = Some('d'),
            // Their values are never connection strings.
            "-c" | "-f" | "-U" | "-p" | "-o" | "-v" | "-t" | "-n" | "-F" | "-R" | "-P" | "-T" | "-j"
            | "-Z" | "-E" | "-L" | "--command" | "--file" | "--username" | "--port" | "--output"
            | "--set" | "--table" | "--schema" => option = Some('-'),
            text if text.starts_with("--host=") => {
                let start = "--host=".len();
                let end = text.len();
                found.push(Host { argument, start, end, in_url: false });
            }
            text if text.starts_with("--dbname=") => {
                found.extend(in_connection_string(argument, "--dbname=".len()));
            }
            text if text.starts_with("-h") => {
                let end = text.len();
                found.push(Host { argument, start: 2, end, in_url: false });
            }
            text if text.starts_with("-d") => found.extend(in_connection_string(argument, 2)),
            text if !text.starts_with('-') => found.extend(in_connection_string(argument, 0)),
            _ => {}
        }
    }
    found
}

/// The host in `postgres://user:password@HOST:port/…` or in `host=HOST port=…`.
fn in_connection_string(argument: &mut String, from: usize) -> Option<Host<'_>> {
    let text = argument.get(from..)?;
    for scheme in ["postgres://", "postgresql://"] {
        let Some(rest) = text.strip_prefix(scheme) else {
            continue;
        };
        let authority = rest.find(['/', '?']).map_or(rest, |end| &rest[..end]);
        let at = authority.rfind('@').map_or(0, |at| at + 1);
        let host = &authority[at..];
        let length = match host.starts_with('[') {
            true => host.find(']').map_or(host.len(), |end| end + 1),
            false => host.find(':').unwrap_or(host.len()),
        };
        let start = from + scheme.len() + at;
        return Some(Host { argument, start, end: start + length, in_url: true });
    }
    let key = "host=";
    let mut at = 0;
    while let Some(found) = text[at..].find(key) {
        let begin = at + found;
        let starts_word = begin == 0 || text[..begin].ends_with(char::is_whitespace);
        if starts_word {
            let start = begin + key.len();
            let rest = &text[start..];
            let length = rest.find(char::is_whitespace).unwrap_or(rest.len());
            return Some(Host { argument, start: from + start, end: from + start + length, in_url: false });
        }
        at = begin + key.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_where_clients_look_for_them() {
        for (line, wanted) in [
            ("-U silver -h silver-postgres silver", "silver-postgres"),
            ("-hsilver-postgres", "silver-postgres"),
            ("--host=127.0.0.1 -c select", "127.0.0.1"),
            ("--host 127.0.0.1", "127.0.0.1"),
            ("postgres://silver:p%40w@db:5432/silver?x=1", "db"),
            ("-d postgresql://db/silver", "db"),
            ("--dbname=postgresql://u@[::1]:5432/silver", "[::1]"),
            ("postgres:///silver", ""),
        ] {
            let mut args: Vec<String> = line.split_whitespace().map(ToOwned::to_owned).collect();
            let found = hosts(&mut args);
            let values: Vec<&str> = found.iter().map(Host::value).collect();
            assert_eq!(values, [wanted], "{line}");
        }
        let mut args = vec!["dbname=x host=db port=1".to_owned()];
        assert_eq!(hosts(&mut args)[0].value(), "db");
        let mut args = vec!["-c".to_owned(), "select 'host=x'".to_owned(), "silver".to_owned()];
        assert!(hosts(&mut args).is_empty());
    }

    #[test]
    fn a_socket_replaces_the_host_in_place() {
        let mut args = vec!["postgres://u@127.0.0.1:5432/db".to_owned()];
        for host in hosts(&mut args) {
            host.replace("/tmp/s");
        }
        assert_eq!(args, ["postgres://u@%2Ftmp%2Fs:5432/db"]);
    }
}
