//! A strict stand-in for the `docker` command, whose containers are local processes. It has no
//! networks, images or builds; whatever it can't do it refuses with a non-zero exit code.

pub mod args;
mod compose;
pub mod container;
mod dotenv;
mod file;
mod mounts;
mod show;
pub mod supervise;
mod template;

use std::io::{IsTerminal, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};

use anyhow::Result;
use serde_json::{Map, Value, json};

use self::args::{Args, Flag};
use self::container::{Container, Image, Status};
use self::show::LogStyle;
use self::template::Template;
use super::machine::Machine;

/// The engine that this one behaves like.
const ENGINE_VERSION: &str = "20.10.24";

/// What an unknown option of `docker` itself ends with.
const USAGE: u8 = 125;

/// A message and the exit code that goes with it.
#[derive(Debug)]
pub struct Failure {
    pub code: u8,
    pub message: String,
}

impl Failure {
    fn new(code: u8, message: impl Into<String>) -> Failure {
        let message = message.into();
        Failure { code, message }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::new(1, format!("{error:#}"))
    }
}

/// Runs `docker WORDS…` and gives its exit code.
pub fn run(machine: Machine, words: &[String]) -> Result<u8, Failure> {
    let Some((command, words)) = words.split_first() else {
        return Err(Failure::new(1, "docker: a command is missing"));
    };
    if command == "compose" {
        return compose::run(machine, words);
    }
    let flags: &[Flag] = match command.as_str() {
        "version" => &[("format", Some('f'), true)],
        "inspect" => &[("format", Some('f'), true), ("type", None, true), ("size", Some('s'), false)],
        "ps" => &[
            ("all", Some('a'), false),
            ("quiet", Some('q'), false),
            ("no-trunc", None, false),
            ("filter", Some('f'), true),
            ("format", None, true),
        ],
        "logs" => {
            &[("follow", Some('f'), false), ("timestamps", Some('t'), false), ("tail", Some('n'), true)]
        }
        "exec" => &[
            ("interactive", Some('i'), false),
            ("tty", Some('t'), false),
            ("env", Some('e'), true),
            ("user", Some('u'), true),
        ],
        _ if command.starts_with('-') => {
            return Err(Failure::new(USAGE, format!("unknown flag: {command}")));
        }
        _ => {
            return Err(Failure::new(1, format!("docker: unknown command: docker {command}")));
        }
    };
    let args =
        Args::parse(words, flags, command == "exec").map_err(|refused| Failure::new(USAGE, refused.0))?;
    match command.as_str() {
        "version" => version(&args),
        "inspect" => inspect(&machine, &args),
        "ps" => ps(&machine, &args),
        "logs" => logs(&machine, &args),
        _ => exec(&machine, &args),
    }
}

fn version(args: &Args) -> Result<u8, Failure> {
    let shown = json!({
        "Client": {"Version": ENGINE_VERSION, "ApiVersion": "1.41", "Os": "linux"},
        "Server": {
            "Version": ENGINE_VERSION,
            "ApiVersion": "1.41",
            "MinAPIVersion": "1.12",
            "Os": "linux",
            "Components": [{"Name": "Engine", "Version": ENGINE_VERSION}],
        },
    });
    let text = match args.value("format") {
        Some("json") => shown.to_string(),
        Some(format) => Template::parse(format)?.render(&shown)?,
        None => format!(
            "Client:\n Version:           {ENGINE_VERSION}\n API version:       1.41\n\n\
             Server: Sandbox\n Engine:\n  Version:          {ENGINE_VERSION}\n  \
             API version:      1.41 (minimum version 1.12)"
        ),
    };
    print(&format!("{text}\n"))?;
    Ok(0)
}

fn inspect(machine: &Machine, args: &Args) -> Result<u8, Failure> {
    if args.value("type").is_some_and(|kind| kind != "container") {
        return Err(Failure::new(1, "the sandbox inspects containers only"));
    }
    if args.rest.is_empty() {
        return Err(Failure::new(1, "\"docker inspect\" requires at least 1 argument."));
    }
    let template = match args.value("format") {
        None => None,
        Some("json") => Some(Template::parse("{{json .}}")?),
        Some(format) => Some(Template::parse(format)?),
    };
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for name in &args.rest {
        match Container::find(machine, name) {
            Ok(container) => found.push(show::inspect(machine, &container)),
            Err(_) => missing.push(format!("Error: No such object: {name}")),
        }
    }
    match template {
        Some(template) => {
            for value in &found {
                print(&format!("{}\n", template.render(value)?))?;
            }
        }
        None => {
            let text = serde_json::to_string_pretty(&found).map_err(anyhow::Error::from)?;
            print(&format!("{text}\n"))?;
        }
    }
    match missing.is_empty() {
        true => Ok(0),
        false => Err(Failure::new(1, missing.join("\n"))),
    }
}

fn ps(machine: &Machine, args: &Args) -> Result<u8, Failure> {
    if let Some(odd) = args.rest.first() {
        return Err(Failure::new(1, format!("\"docker ps\" accepts no arguments, not {odd:?}")));
    }
    let mut shown = Container::all(machine)?;
    shown.reverse();
    let mut by_status = false;
    for filter in args.values("filter") {
        let Some((key, wanted)) = filter.split_once('=') else {
            return Err(Failure::new(USAGE, format!("invalid filter {filter:?}")));
        };
        match key {
            "name" => shown.retain(|found| found.name.contains(wanted)),
            "id" => shown.retain(|found| found.id.starts_with(wanted)),
            "status" => {
                by_status = true;
                shown.retain(|found| found.state(machine).status.word() == wanted);
            }
            "health" => shown.retain(|found| {
                let state = found.state(machine);
                let word = state.health_word();
                wanted == if word.is_empty() { "none" } else { word }
            }),
            "label" => match wanted.split_once('=') {
                Some((key, value)) => {
                    shown.retain(|found| found.labels.get(key).is_some_and(|label| label == value))
                }
                None => shown.retain(|found| found.labels.contains_key(wanted)),
            },
            _ => return Err(Failure::new(1, format!("invalid filter {key:?}"))),
        }
    }
    if !args.has("all") && !by_status {
        shown.retain(|found| found.state(machine).is_up());
    }
    let full = args.has("no-trunc");
    if args.has("quiet") {
        for found in &shown {
            print(&format!("{}\n", if full { &found.id } else { found.short_id() }))?;
        }
        return Ok(0);
    }
    let lines: Vec<Map<String, Value>> =
        shown.iter().map(|found| show::listed(machine, found, full)).collect();
    match args.value("format") {
        None | Some("table") => {
            let head = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];
            let keys = ["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"];
            print(&show::table(&head, &compose::cells(&lines, &keys)))?;
        }
        Some(format) => {
            let format = if format == "json" { "{{json .}}" } else { format };
            let template = Template::parse(format)?;
            for line in lines {
                print(&format!("{}\n", template.render(&Value::Object(line))?))?;
            }
        }
    }
    Ok(0)
}

fn logs(machine: &Machine, args: &Args) -> Result<u8, Failure> {
    let [name] = &args.rest[..] else {
        return Err(Failure::new(1, "\"docker logs\" requires exactly 1 argument."));
    };
    let tail = match args.value("tail") {
        None | Some("all") => None,
        Some(count) => match count.parse() {
            Ok(count) => Some(count),
            Err(_) => return Err(Failure::new(1, format!("invalid tail {count:?}"))),
        },
    };
    let container = Container::find(machine, name)?;
    let style = LogStyle { timestamps: args.has("timestamps"), tail, ..LogStyle::default() };
    let end = show::logs(machine, &container, &style, 0)?;
    if args.has("follow") {
        show::follow(machine, &mut [(container, style, end)])?;
    }
    Ok(0)
}

fn exec(machine: &Machine, args: &Args) -> Result<u8, Failure> {
    let Some((name, command)) = args.rest.split_first().filter(|(_, rest)| !rest.is_empty()) else {
        return Err(Failure::new(1, "\"docker exec\" requires at least 2 arguments."));
    };
    if args.has("tty") && !std::io::stdin().is_terminal() {
        return Err(Failure::new(1, "the input device is not a TTY"));
    }
    let container = Container::find(machine, name)?;
    if container.state(machine).status != Status::Running {
        let text = format!("Error response from daemon: Container {} is not running", container.id);
        return Err(Failure::new(1, text));
    }
    if !args.has("interactive") {
        close_input()?;
    }
    let more: Vec<&str> = args.values("env").collect();
    exec_into(machine, &container, command, &more, args.value("user"))
}

/// Without `-i` a command reads nothing.
fn close_input() -> Result<()> {
    use std::os::fd::AsRawFd;
    let null = std::fs::File::open("/dev/null")?;
    match unsafe { libc::dup2(null.as_raw_fd(), 0) } {
        -1 => Err(std::io::Error::last_os_error().into()),
        _ => Ok(()),
    }
}

/// Runs a process in this container and gives its exit code. As with the real one, it goes on
/// when this client is killed.
fn exec_into(
    machine: &Machine,
    container: &Container,
    command: &[String],
    more: &[&str],
    user: Option<&str>,
) -> Result<u8, Failure> {
    let own = match container.image {
        Image::Postgres => "postgres",
        Image::Services => "root",
    };
    let user = user.unwrap_or(own);
    let known = match container.image {
        Image::Postgres => ["root", "postgres"].contains(&user),
        Image::Services => user == "root",
    };
    if !known {
        let text = format!("unable to find user {user}: no matching entries in passwd file");
        return Err(Failure::new(126, text));
    }
    let mut environment = Vec::new();
    for variable in more {
        match variable.split_once('=') {
            Some((key, value)) => environment.push((key.to_owned(), value.to_owned())),
            None => {
                if let Ok(value) = std::env::var(variable) {
                    environment.push(((*variable).to_owned(), value));
                }
            }
        }
    }
    let mut inside = container
        .inside(machine, command, &environment)
        .map_err(|error| Failure::new(126, error.to_string()))?;
    // Whom libpq takes for the user, where nobody says otherwise.
    let named = environment.iter().any(|(key, _)| key == "PGUSER");
    if !named && container.image == Image::Postgres {
        inside.env(super::client::USER, user);
    }
    unsafe {
        inside.pre_exec(|| {
            // A session of its own, so that what ends our process group doesn't end it; but where
            // it has the terminal, it must keep it.
            if libc::isatty(0) == 0 {
                libc::setsid();
            }
            Ok(())
        });
    }
    let status =
        inside.status().map_err(|error| Failure::new(126, format!("OCI runtime exec failed: {error}")))?;
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, signal) => 128 + signal.unwrap_or(0),
    };
    Ok(u8::try_from(code).unwrap_or(255))
}

/// With or without `SIG`, or a number.
fn signal_number(name: &str) -> Option<i32> {
    let plain = name.strip_prefix("SIG").unwrap_or(name);
    let known = [
        ("HUP", libc::SIGHUP),
        ("INT", libc::SIGINT),
        ("QUIT", libc::SIGQUIT),
        ("KILL", libc::SIGKILL),
        ("USR1", libc::SIGUSR1),
        ("USR2", libc::SIGUSR2),
        ("TERM", libc::SIGTERM),
    ];
    let found = known.iter().find(|(known, number)| *known == plain || number.to_string() == plain);
    found.map(|(_, number)| *number)
}

fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}
