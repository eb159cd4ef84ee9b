//! `wait_for`: until a port, a path or a text is there, or gone.

use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep, timeout_at};

use super::text_edit::MAX_SIZE;
use super::{CheckAnswer, Failure, Module, Plan, PlanCx, host_path};
use crate::remote::{Command, RemoteErrorKind};
use crate::source::python_re::{Flags, Found, Pattern};
use crate::source::{Map, Val};

/// Waits for a condition on the host. It changes nothing, so the waiting is done while planning.
pub struct WaitFor;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Absent,
    Drained,
    Present,
    #[default]
    Started,
    Stopped,
}

/// Arguments of `wait_for`. Times are whole seconds.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The host to connect to, as the task's host sees it.
    #[serde(default = "localhost")]
    pub host: String,
    /// The port to connect to.
    pub port: Option<u16>,
    /// A path on the host.
    pub path: Option<String>,
    /// Text that the file holds or the port says.
    pub search_regex: Option<String>,
    /// What to wait for.
    #[serde(default)]
    pub state: State,
    /// Fail after this; with neither port nor path: just wait.
    #[serde(default = "default_timeout")]
    pub timeout: u64,
    /// Wait before the first look.
    #[serde(default)]
    pub delay: u64,
    /// Between looks.
    #[serde(default = "one")]
    pub sleep: u64,
    /// For one connection.
    #[serde(default = "five")]
    pub connect_timeout: u64,
    /// What a failure says instead of its own words.
    pub msg: Option<String>,
    /// Which connections count for `drained`.
    #[serde(default = "default_states")]
    pub active_connection_states: Vec<String>,
    /// Connections from here don't count for `drained`.
    pub exclude_hosts: Option<Vec<String>>,
}

fn localhost() -> String {
    "127.0.0.1".into()
}
fn default_timeout() -> u64 {
    300
}
fn one() -> u64 {
    1
}
fn five() -> u64 {
    5
}
fn default_states() -> Vec<String> {
    ["ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "SYN_RECV", "SYN_SENT", "TIME_WAIT"].map(String::from).to_vec()
}

impl Module for WaitFor {
    type Args = Args;
    const NAME: &'static str = "wait_for";

    fn validate(args: &Args) -> Result<(), String> {
        let only_port = |state: &str| {
            format!("state={state} should only be used for checking a port in the wait_for module")
        };
        match (&args.path, args.state) {
            (Some(_), _) if args.port.is_some() => {
                return Err("port and path parameter can not both be passed to wait_for".into());
            }
            (Some(_), State::Stopped) => return Err(only_port("stopped")),
            (Some(_), State::Drained) => return Err(only_port("drained")),
            (None, State::Drained) if args.port.is_none() => return Err("state=drained needs a port".into()),
            _ => {}
        }
        if args.exclude_hosts.is_some() && args.state != State::Drained {
            return Err("exclude_hosts should only be with state=drained".into());
        }
        match args.active_connection_states.iter().find(|s| state_code(s).is_none()) {
            Some(unknown) => Err(format!("unknown active_connection_state ({unknown}) defined")),
            None => Ok(()),
        }
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let begun = Instant::now();
        if cx.check {
            let msg = "remote module (wait_for) does not support check mode";
            let skip = Map::from_iter([(Val::from("msg"), Val::from(msg))]);
            return Ok(Plan { check: CheckAnswer::Skip(skip), ..Plan::ok() });
        }
        let regex = match &args.search_regex {
            Some(given) => {
                let flags = Flags { multiline: true, ..Flags::default() };
                Some(
                    Pattern::bytes(given, flags)
                        .map_err(|e| Failure::new(format!("Invalid regular expression: {e}")))?,
                )
            }
            None => None,
        };
        let path = host_path::expand_opt(cx.target, args.path.as_deref()).await?;
        let end = begun + Duration::from_secs(args.timeout);
        sleep(Duration::from_secs(args.delay)).await;
        let waiting = Waiting { args: &args, path, regex, end, cx };
        let met = waiting.until_met().await?;
        let elapsed = Val::Int(begun.elapsed().as_secs() as i64);
        let Some(groups) = met else {
            let message = args.msg.clone().unwrap_or_else(|| waiting.timed_out());
            return Err(Failure::new(message).value("elapsed", elapsed));
        };
        Ok(Plan::ok()
            .value("state", name(args.state))
            .value("port", args.port.map(|p| Val::Int(p.into())))
            .value("path", waiting.path.clone())
            .value("search_regex", args.search_regex.clone())
            .value("match_groups", Val::list(groups.numbered))
            .value("match_groupdict", groups.named)
            .value("elapsed", elapsed))
    }
}

fn name(state: State) -> &'static str {
    match state {
        State::Absent => "absent",
        State::Drained => "drained",
        State::Present => "present",
        State::Started => "started",
        State::Stopped => "stopped",
    }
}

/// What the search's groups were, once it succeeded.
#[derive(Debug, Default)]
struct Groups {
    numbered: Vec<Val>,
    named: Map,
}

impl Groups {
    fn of(found: &Found<'_>) -> Groups {
        let text = |group: Option<&[u8]>| {
            group.map_or(Val::Null, |g| Val::from(String::from_utf8_lossy(g).as_ref()))
        };
        Groups {
            numbered: found.groups().map(text).collect(),
            named: found.named().map(|(name, group)| (Val::from(name), text(group))).collect(),
        }
    }
}

struct Waiting<'a, 'c> {
    args: &'a Args,
    path: Option<String>,
    regex: Option<Pattern>,
    end: Instant,
    cx: &'a PlanCx<'c>,
}

impl Waiting<'_, '_> {
    /// `None`: time ran out.
    async fn until_met(&self) -> Result<Option<Groups>, Failure> {
        if self.args.port.is_none() && self.path.is_none() {
            // Ansible counts this from after the delay.
            sleep(Duration::from_secs(self.args.timeout)).await;
            return Ok(Some(Groups::default()));
        }
        while Instant::now() < self.end {
            if let Some(groups) = self.look().await? {
                return Ok(Some(groups));
            }
            sleep(Duration::from_secs(self.args.sleep)).await;
        }
        Ok(None)
    }

    async fn look(&self) -> Result<Option<Groups>, Failure> {
        let met = |yes: bool| Ok(yes.then(Groups::default));
        match (self.args.state, &self.path, self.args.port) {
            (State::Drained, _, Some(port)) => met(self.connections(port).await? == 0),
            (State::Absent | State::Stopped, Some(path), _) => met(!self.exists(path).await?),
            (_, Some(path), _) => match &self.regex {
                None => met(self.exists(path).await?),
                Some(regex) => self.search_file(path, regex).await,
            },
            (State::Absent | State::Stopped, _, Some(port)) => met(self.connect(port).await?.is_none()),
            (_, _, Some(port)) => match (self.connect(port).await?, &self.regex) {
                (None, _) => Ok(None),
                (Some(_), None) => met(true),
                (Some(stream), Some(regex)) => self.search_stream(stream, regex).await,
            },
            (_, None, None) => met(true),
        }
    }

    async fn exists(&self, path: &str) -> Result<bool, Failure> {
        let script = format!("[ -e {} ]", host_path::quote(path));
        Ok(self.cx.target.probe(Command::shell(script)).await?.success())
    }

    async fn search_file(&self, path: &str, regex: &Pattern) -> Result<Option<Groups>, Failure> {
        let path = host_path::quote(path);
        let too_large = 3;
        let script = format!(
            "[ -e {path} ] || exit 1\nif [ -f {path} ] && [ \"$(wc -c <{path})\" -gt {MAX_SIZE} ]; then exit {too_large}; fi\ncat {path} 2>/dev/null"
        );
        let said = self.cx.target.probe(Command::shell(script)).await?;
        if said.status == too_large {
            let message = format!("{path} is larger than {MAX_SIZE} bytes, too large for search_regex");
            return Err(Failure::new(message).help("wait with until: on a shell task that greps it"));
        }
        self.search(&said.stdout, regex)
    }

    fn search(&self, bytes: &[u8], regex: &Pattern) -> Result<Option<Groups>, Failure> {
        let found = regex.search(bytes).map_err(|e| Failure::new(e.to_string()))?;
        Ok(found.as_ref().map(Groups::of))
    }

    /// `None`: nobody answers.
    async fn connect(&self, port: u16) -> Result<Option<Box<dyn crate::remote::Stream>>, Failure> {
        let until = self.end.min(Instant::now() + Duration::from_secs(self.args.connect_timeout.max(1)));
        match timeout_at(until, self.cx.target.connect(&self.args.host, port)).await {
            Ok(Ok(stream)) => Ok(Some(stream)),
            Ok(Err(e)) if e.kind == RemoteErrorKind::Unreachable => Err(e.into()),
            Ok(Err(_)) | Err(_) => Ok(None),
        }
    }

    async fn search_stream(
        &self,
        mut stream: Box<dyn crate::remote::Stream>,
        regex: &Pattern,
    ) -> Result<Option<Groups>, Failure> {
        let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            match timeout_at(self.end, stream.read(&mut buffer)).await {
                Err(_) | Ok(Err(_) | Ok(0)) => return Ok(None),
                Ok(Ok(n)) => said.extend_from_slice(&buffer[..n]),
            }
            if let Some(groups) = self.search(&said, regex)? {
                return Ok(Some(groups));
            }
            if said.len() as u64 > MAX_SIZE {
                let message = format!("port said more than {MAX_SIZE} bytes without a match of search_regex");
                return Err(Failure::new(message));
            }
        }
    }

    async fn connections(&self, port: u16) -> Result<usize, Failure> {
        let script =
            "[ -r /proc/net/tcp ] || exit 3\ncat /proc/net/tcp\ncat /proc/net/tcp6 2>/dev/null\nexit 0";
        let said = self.cx.target.probe(Command::shell(script)).await?;
        if !said.success() {
            return Err(Failure::new("state=drained needs /proc/net/tcp on the host (Linux)"));
        }
        let mut hosts = self.resolve(&self.args.host).await?;
        hosts.dedup();
        let mut excluded = Vec::new();
        for host in self.args.exclude_hosts.iter().flatten() {
            excluded.extend(self.resolve(host).await?);
        }
        let codes: Vec<&str> =
            self.args.active_connection_states.iter().filter_map(|s| state_code(s)).collect();
        Ok(count_connections(&said.stdout_text(), port, &hosts, &excluded, &codes))
    }

    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Failure> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        let said = self.cx.target.query(Command::argv(["getent", "ahosts", host])).await?;
        let ips: Vec<IpAddr> = said
            .stdout_text()
            .lines()
            .filter_map(|line| line.split_whitespace().next()?.parse().ok())
            .collect();
        if ips.is_empty() { Err(Failure::new(format!("the host cannot resolve '{host}'"))) } else { Ok(ips) }
    }

    fn timed_out(&self) -> String {
        let args = self.args;
        let place = match (&self.path, args.port) {
            (Some(path), _) => path.clone(),
            (None, port) => format!("{}:{}", args.host, port.unwrap_or_default()),
        };
        match (args.state, &self.path, &args.search_regex) {
            (State::Drained, _, _) => format!("Timeout when waiting for {place} to drain"),
            (State::Absent | State::Stopped, Some(_), _) => {
                format!("Timeout when waiting for {place} to be absent.")
            }
            (State::Absent | State::Stopped, None, _) => format!("Timeout when waiting for {place} to stop."),
            (_, _, Some(regex)) => format!("Timeout when waiting for search string {regex} in {place}"),
            (_, Some(_), None) => format!("Timeout when waiting for file {place}"),
            (_, None, None) => format!("Timeout when waiting for {place}"),
        }
    }
}

/// The code of a state in /proc/net/tcp.
fn state_code(state: &str) -> Option<&'static str> {
    Some(match state {
        "ESTABLISHED" => "01",
        "SYN_SENT" => "02",
        "SYN_RECV" => "03",
        "FIN_WAIT1" => "04",
        "FIN_WAIT2" => "05",
        "TIME_WAIT" => "06",
        _ => return None,
    })
}

/// Connections to `port` at one of `hosts` in the text of /proc/net/tcp and tcp6.
fn count_connections(text: &str, port: u16, hosts: &[IpAddr], excluded: &[IpAddr], codes: &[&str]) -> usize {
    let everywhere = hosts.iter().any(IpAddr::is_unspecified);
    let counts = |line: &str| -> Option<()> {
        let mut fields = line.split_whitespace();
        let (local, local_port) = address(fields.nth(1)?)?;
        let (remote, _) = address(fields.next()?)?;
        let state = fields.next()?;
        let here = everywhere || hosts.contains(&local);
        (here && local_port == port && codes.contains(&state) && !excluded.contains(&remote)).then_some(())
    };
    text.lines().filter_map(counts).count()
}

/// `0100007F:1F90`: words of four bytes in the host's (little-endian) order. IPv4 in IPv6 is IPv4.
fn address(text: &str) -> Option<(IpAddr, u16)> {
    let (hex, port) = text.split_once(':')?;
    let word = |i: usize| Some(u32::from_str_radix(hex.get(i * 8..i * 8 + 8)?, 16).ok()?.swap_bytes());
    let ip: IpAddr = match hex.len() {
        8 => std::net::Ipv4Addr::from(word(0)?).into(),
        32 => {
            let bits = (0..4).try_fold(0u128, |all, i| Some(all << 32 | u128::from(word(i)?)))?;
            std::net::Ipv6Addr::from(bits).to_canonical()
        }
        _ => return None,
    };
    Some((ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::args::{self, from_val};

    #[test]
    fn connections_in_proc_net_tcp() {
        let text = "  sl  local_address rem_address   st\n\
             0: 0100007F:1F90 0100007F:C350 01 0\n\
             1: 0100007F:1F90 00000000:0000 0A 0\n\
             2: 0100007F:1F90 0200007F:C351 06 0\n\
             3: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000300007F:C352 01 0\n\
             4: 0500007F:1F90 0100007F:C353 01 0\n";
        let ip = |s: &str| vec![s.parse::<IpAddr>().unwrap()];
        let codes = ["01", "06"];
        assert_eq!(count_connections(text, 8080, &ip("127.0.0.1"), &[], &codes), 3);
        assert_eq!(count_connections(text, 8080, &ip("127.0.0.1"), &ip("127.0.0.2"), &codes), 2);
        assert_eq!(count_connections(text, 8080, &ip("0.0.0.0"), &[], &["01"]), 3);
        assert_eq!(count_connections(text, 80, &ip("127.0.0.1"), &[], &codes), 0);
    }

    #[test]
    fn arguments_that_exclude_each_other() {
        let check = |given: &[(&'static str, &str)]| {
            let given = args::args(given.iter().map(|(k, v)| (*k, Val::from(*v))));
            WaitFor::validate(&from_val::<Args>(&given).unwrap())
        };
        for (given, want) in [
            (&[("port", "1"), ("path", "/x")][..], "port and path parameter can not both be passed"),
            (&[("path", "/x"), ("state", "stopped")], "state=stopped should only be used"),
            (&[("path", "/x"), ("exclude_hosts", "a")], "exclude_hosts should only be with state=drained"),
            (
                &[("port", "1"), ("active_connection_states", "NOPE")],
                "unknown active_connection_state (NOPE)",
            ),
        ] {
            let message = check(given).unwrap_err();
            assert!(message.starts_with(want), "{message}");
        }
        assert!(check(&[("timeout", "1")]).is_ok());
    }
}
