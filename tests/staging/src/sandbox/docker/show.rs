//! Containers in the words of `inspect`, `ps` and `compose ps`, field by field as Docker's.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::container::{Container, State, Status, in_words, now, rfc3339};
use crate::sandbox::machine::Machine;

pub fn inspect(machine: &Machine, container: &Container) -> Value {
    let state = container.state(machine);
    let time = |time: Option<Duration>| match time {
        Some(time) => rfc3339(time),
        None => "0001-01-01T00:00:00Z".to_owned(),
    };
    let mut shown = json!({
        "Status": state.status.word(),
        "Running": state.is_up(),
        "Paused": false,
        "Restarting": state.status == Status::Restarting,
        "OOMKilled": false,
        "Dead": false,
        "Pid": state.child.map_or(0, |child| child.pid),
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": time(state.started),
        "FinishedAt": time(state.finished),
    });
    if let Some(health) = &state.health {
        let log = health.log.iter().map(|probe| {
            json!({
                "Start": rfc3339(probe.start),
                "End": rfc3339(probe.end),
                "ExitCode": probe.exit_code,
                "Output": probe.output,
            })
        });
        // A container that stopped is reported as it was last seen.
        shown["Health"] = json!({
            "Status": health.status,
            "FailingStreak": health.failing_streak,
            "Log": log.collect::<Vec<Value>>(),
        });
    }
    let mut bindings = Map::new();
    for port in &container.ports {
        let bound = json!([{"HostIp": port.host, "HostPort": port.published.to_string()}]);
        bindings.insert(format!("{}/tcp", port.target), bound);
    }
    let environment: Vec<String> =
        container.environment.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mounts: Vec<Value> = container
        .volumes
        .iter()
        .map(|(name, target)| {
            json!({
                "Type": "volume",
                "Name": name,
                "Source": machine.volume(name),
                "Destination": target,
                "Driver": "local",
                "Mode": "z",
                "RW": true,
                "Propagation": "",
            })
        })
        .chain(container.mounts.iter().map(|mount| {
            json!({
                "Type": "bind",
                "Source": mount.source,
                "Destination": mount.target,
                "Mode": "ro",
                "RW": false,
                "Propagation": "rprivate",
            })
        }))
        .collect();
    let network = format!("{}_default", container.project);
    let is_up = state.is_up();
    let address = if is_up { container.address.as_str() } else { "" };
    json!({
        "Id": container.id,
        "Created": rfc3339(container.created),
        "Path": container.command.first().map_or("", String::as_str),
        "Args": container.command.get(1..).unwrap_or_default(),
        "State": shown,
        "Image": container.image.id(),
        "Name": format!("/{}", container.name),
        "RestartCount": state.restarts,
        "Driver": "sandbox",
        "Platform": "linux",
        "LogPath": container.log(machine),
        "HostConfig": {
            "NetworkMode": network,
            "PortBindings": bindings,
            "RestartPolicy": {
                "Name": if container.restart == "no" { "" } else { container.restart.as_str() },
                "MaximumRetryCount": 0,
            },
            "AutoRemove": false,
            "Privileged": false,
            "Init": container.init,
        },
        "Mounts": mounts,
        "Config": {
            "Hostname": container.short_id(),
            "Env": environment,
            "Cmd": container.command,
            "Image": container.image_name,
            "Labels": container.labels,
            "StopTimeout": container.stop_grace.as_secs(),
        },
        "NetworkSettings": {
            "Ports": if is_up { Value::Object(bindings.clone()) } else { json!({}) },
            "Networks": {
                network: {
                    "Aliases": [container.service, container.short_id()],
                    "IPAddress": address,
                },
            },
        },
    })
}

/// One line of `ps`. `full` shows whole ids and commands.
pub fn listed(machine: &Machine, container: &Container, full: bool) -> Map<String, Value> {
    let state = container.state(machine);
    let labels: Vec<String> = container.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mounts: Vec<&str> = container.volumes.iter().map(|(name, _)| name.as_str()).collect();
    let id = if full { &container.id } else { container.short_id() };
    let fields = [
        ("Command", json!(command(&container.command, full))),
        ("CreatedAt", json!(in_words(container.created))),
        ("ID", json!(id)),
        ("Image", json!(container.image_name)),
        ("Labels", json!(labels.join(","))),
        ("LocalVolumes", json!(container.volumes.len().to_string())),
        ("Mounts", json!(mounts.join(","))),
        ("Names", json!(container.name)),
        ("Networks", json!(format!("{}_default", container.project))),
        ("Ports", json!(ports(container, &state))),
        ("RunningFor", json!(format!("{} ago", span(now().saturating_sub(container.created))))),
        ("Size", json!("0B")),
        ("State", json!(state.status.word())),
        ("Status", json!(status(&state))),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// One line of `compose ps`.
pub fn listed_by_compose(machine: &Machine, container: &Container, full: bool) -> Map<String, Value> {
    let state = container.state(machine);
    let mut fields = listed(machine, container, full);
    let publishers = container.ports.iter().map(|port| {
        json!({
            "URL": port.host,
            "TargetPort": port.target,
            "PublishedPort": port.published,
            "Protocol": "tcp",
        })
    });
    let publishers: Vec<Value> = publishers.filter(|_| state.is_up()).collect();
    let more = [
        ("ExitCode", json!(state.exit_code)),
        ("Health", json!(state.health_word())),
        ("Name", json!(container.name)),
        ("Project", json!(container.project)),
        ("Publishers", if publishers.is_empty() { Value::Null } else { json!(publishers) }),
        ("Service", json!(container.service)),
    ];
    fields.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value)));
    // Alphabetical, as Compose prints them.
    let mut sorted: Vec<(String, Value)> = fields.into_iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    sorted.into_iter().collect()
}

fn command(words: &[String], full: bool) -> String {
    let quoted = words.iter().map(|word| match word.contains(' ') {
        true => format!("'{word}'"),
        false => word.clone(),
    });
    let line = quoted.collect::<Vec<_>>().join(" ");
    let shown = match line.char_indices().nth(20) {
        Some(_) if !full => {
            let kept: String = line.chars().take(19).collect();
            format!("{kept}…")
        }
        _ => line,
    };
    format!("\"{shown}\"")
}

fn ports(container: &Container, state: &State) -> String {
    if !state.is_up() {
        return String::new();
    }
    let shown =
        container.ports.iter().map(|port| format!("{}:{}->{}/tcp", port.host, port.published, port.target));
    shown.collect::<Vec<_>>().join(", ")
}

fn status(state: &State) -> String {
    let since = |time: Option<Duration>| span(now().saturating_sub(time.unwrap_or_default()));
    match state.status {
        Status::Created => "Created".to_owned(),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, since(state.finished)),
        Status::Restarting => {
            format!("Restarting ({}) {} ago", state.exit_code, since(state.finished))
        }
        Status::Running => match state.health_word() {
            "" => format!("Up {}", since(state.started)),
            "starting" => format!("Up {} (health: starting)", since(state.started)),
            word => format!("Up {} ({word})", since(state.started)),
        },
    }
}

/// Docker's way to say how long.
fn span(time: Duration) -> String {
    let (seconds, minutes, hours) = (time.as_secs(), time.as_secs() / 60, time.as_secs() / 3600);
    match (seconds, minutes, hours) {
        (0, _, _) => "Less than a second".to_owned(),
        (1, _, _) => "1 second".to_owned(),
        (2..=59, _, _) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, 2..=59, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, 2..=47) => format!("{hours} hours"),
        _ => format!("{} days", hours / 24),
    }
}

pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|word| word.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let head: Vec<String> = head.iter().map(|word| (*word).to_owned()).collect();
    let mut out = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let mut cells = row.iter().zip(&widths).peekable();
        while let Some((cell, width)) = cells.next() {
            match cells.peek() {
                Some(_) => out.push_str(&format!("{cell:width$}   ")),
                None => out.push_str(cell),
            }
        }
        out.push('\n');
    }
    out
}

/// How `logs` shows a container's output.
#[derive(Debug, Default, Clone)]
pub struct LogStyle {
    pub prefix: String,
    pub timestamps: bool,
    pub tail: Option<usize>,
    /// Compose prints all on stdout, Docker each stream on its own.
    pub one_stream: bool,
}

/// Shows the log from this byte on, and tells where it ended.
pub fn logs(machine: &Machine, container: &Container, style: &LogStyle, from: u64) -> Result<u64> {
    use std::io::{Seek, SeekFrom};
    let mut file = match File::open(container.log(machine)) {
        Ok(file) => file,
        // It was never started.
        Err(_) => return Ok(from),
    };
    file.seek(SeekFrom::Start(from))?;
    let mut end = from;
    let mut lines = Vec::new();
    let mut reader = BufReader::new(file);
    loop {
        let mut line = String::new();
        let count = reader.read_line(&mut line)?;
        // A line that is still being written comes next time.
        if count == 0 || !line.ends_with('\n') {
            break;
        }
        end += u64::try_from(count)?;
        lines.push(line);
    }
    let skip = style.tail.map_or(0, |tail| lines.len().saturating_sub(tail));
    let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
    for line in lines.iter().skip(skip) {
        let entry: Value = serde_json::from_str(line)?;
        let part = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
        let mut text = style.prefix.clone();
        if style.timestamps {
            text.push_str(part("time"));
            text.push(' ');
        }
        text.push_str(part("log"));
        if style.one_stream && !text.ends_with('\n') {
            text.push('\n');
        }
        if style.one_stream || part("stream") == "stdout" {
            stdout.lock().write_all(text.as_bytes())?;
        } else {
            stderr.lock().write_all(text.as_bytes())?;
        }
    }
    stdout.lock().flush()?;
    Ok(end)
}

/// Goes on showing what comes, until the containers have stopped.
pub fn follow(machine: &Machine, shown: &mut [(Container, LogStyle, u64)]) -> Result<()> {
    loop {
        let is_up = |(container, _, _): &(Container, LogStyle, u64)| container.state(machine).is_up();
        let goes_on = shown.iter().any(is_up);
        for (container, style, from) in shown.iter_mut() {
            let all = LogStyle { tail: None, ..style.clone() };
            *from = logs(machine, container, &all, *from)?;
        }
        if !goes_on {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_commands_are_shortened_as_docker_does() {
        assert_eq!(span(Duration::from_millis(300)), "Less than a second");
        assert_eq!(span(Duration::from_secs(90)), "About a minute");
        let words = ["sh", "-c", "echo hello; sleep 1000"].map(ToOwned::to_owned);
        assert_eq!(command(&words, false), "\"sh -c 'echo hello; …\"");
    }
}
