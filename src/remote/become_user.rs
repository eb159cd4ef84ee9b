//! Becoming another user: sudo, su, doas.
//!
//! The password is sent only after the prompt was seen, and the elevated shell says that it is
//! ready before anything else is sent: a password that nobody asked for would be a command line.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connections::Link;
use super::quote::quote;
use super::shell::{BOOTSTRAP, Channel, MAX_BANNER, token};
use super::{RemoteError, RemoteErrorKind};
use crate::source::Text;
use zeroize::Zeroizing;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BecomeMethod {
    Sudo,
    Su,
    Doas,
}

impl BecomeMethod {
    pub fn name(self) -> &'static str {
        match self {
            BecomeMethod::Sudo => "sudo",
            BecomeMethod::Su => "su",
            BecomeMethod::Doas => "doas",
        }
    }
}

/// Whom to become, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Become {
    pub method: BecomeMethod,
    pub user: String,
    #[serde(with = "crate::source::stored")]
    pub password: Option<Text>,
    /// Instead of the method's own flags.
    pub flags: Option<String>,
    /// Instead of the method's own name.
    pub exe: Option<String>,
}

/// How long a prompt, and the answer to a password, may take. Failed sudo attempts are slow on
/// purpose.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the method is run on the host.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Way {
    #[default]
    /// On the three pipes of the channel.
    Pipes,
    /// The same, but with a terminal of its own, because the method insists on one.
    Terminal,
    /// Also the password goes through that terminal.
    TerminalAsks,
}

/// Opens a channel as the wanted user, on which the bootstrap runs.
///
/// # Errors
/// A wrong or missing password, a user who may not, a method that isn't there.
pub async fn open(link: &dyn Link, wanted: &Become) -> Result<Channel, RemoteError> {
    let mut refusal = match attempt(link, wanted, Way::Pipes).await? {
        Attempt::Open(channel) => return Ok(channel),
        Attempt::Refused(seen) if seen.wants_terminal(wanted) => seen,
        Attempt::Refused(seen) => return Err(seen.refusal(wanted)),
    };
    let ways: &[Way] = match (&wanted.password, wanted.method) {
        (Some(_), BecomeMethod::Doas) => &[Way::TerminalAsks],
        (Some(_), _) => &[Way::Terminal, Way::TerminalAsks],
        (None, _) => &[Way::Terminal],
    };
    for way in ways {
        match attempt(link, wanted, *way).await? {
            Attempt::Open(channel) => return Ok(channel),
            Attempt::Refused(seen) => refusal = seen,
        }
    }
    Err(refusal.refusal(wanted))
}

enum Attempt {
    Open(Channel),
    Refused(Seen),
}

async fn attempt(link: &dyn Link, wanted: &Become, way: Way) -> Result<Attempt, RemoteError> {
    let words = Words { ready: token(), go: token(), prompt: format!("seqn-{}", token()) };
    let mut channel = match way {
        Way::Pipes => link.open(&command(wanted, &words, way)).await?,
        Way::Terminal | Way::TerminalAsks => {
            let mut channel = link.open(BOOTSTRAP).await?;
            let line = on_a_terminal(wanted, &words, way);
            if send(&mut channel, line.as_bytes()).await.is_err() {
                return Ok(Attempt::Refused(Seen::default()));
            }
            channel
        }
    };
    let mut seen = Seen { way, ..Seen::default() };
    let mut turn = seen.wait(&mut channel, &words, wanted).await;
    if let Turn::Prompt = turn {
        let Some(password) = &wanted.password else {
            return Err(failure(wanted, "it asks for a password and none was given".into())
                .with_help("give it with -K, or set ansible_become_password in an encrypted file"));
        };
        let sent = match way {
            Way::TerminalAsks => {
                let encoded = Zeroizing::new(STANDARD.encode(password.as_bytes()));
                send(&mut channel, encoded.as_bytes()).await
            }
            _ => send(&mut channel, password.as_bytes()).await,
        };
        if sent.is_err() {
            return Ok(Attempt::Refused(seen));
        }
        seen.forget_prompt();
        turn = seen.wait(&mut channel, &words, wanted).await;
        if let Turn::Prompt = turn {
            return Err(failure(wanted, "the password is wrong".into()));
        }
    }
    if let Turn::Ready = turn
        && send(&mut channel, words.go.as_bytes()).await.is_ok()
    {
        return Ok(Attempt::Open(channel));
    }
    Ok(Attempt::Refused(seen))
}

/// One line to the other side.
async fn send(channel: &mut Channel, line: &[u8]) -> std::io::Result<()> {
    let sent = async {
        channel.stdin.write_all(line).await?;
        channel.stdin.write_all(b"\n").await?;
        channel.stdin.flush().await
    };
    tokio::time::timeout(PATIENCE, sent).await?
}

/// What nobody can guess.
struct Words {
    ready: String,
    /// Lines before it are thrown away by the elevated shell: a password that was not asked for in
    /// the end is never a command.
    go: String,
    prompt: String,
}

fn command(wanted: &Become, words: &Words, way: Way) -> String {
    let Words { ready, go, prompt } = words;
    let terminal_ready = match way {
        Way::Pipes => String::new(),
        _ => format!("{{ echo {ready} >/dev/tty; }} 2>/dev/null || echo {ready} >&2; "),
    };
    let inner = format!(
        "{terminal_ready}echo {ready}; while IFS= read -r l; do case $l in {go}) break ;; esac; done; \
         IFS= read -r l; eval \"$l\""
    );
    let user = quote(&wanted.user);
    let exe = wanted.exe.clone().unwrap_or_else(|| wanted.method.name().to_string());
    let ask = match wanted.method {
        // It never takes a password from a pipe.
        BecomeMethod::Doas => way == Way::TerminalAsks,
        _ => wanted.password.is_some() && way != Way::Terminal,
    };
    match wanted.method {
        BecomeMethod::Sudo => {
            let flags = wanted.flags.clone().unwrap_or_else(|| "-H".into());
            let how = match (ask, way) {
                (true, Way::Pipes) => format!("-S -p {prompt}"),
                (true, _) => format!("-p {prompt}"),
                (false, _) => "-n".into(),
            };
            format!("exec {exe} {flags} {how} -u {user} -- sh -c '{inner}'")
        }
        BecomeMethod::Su => {
            let flags = wanted.flags.clone().unwrap_or_default();
            // One more level of quoting: su gives its -c to the user's login shell. The prompt is
            // su's own.
            let inner = format!("exec sh -c {}", quote(&inner));
            format!("exec {exe} {flags} {user} -c {}", quote(&inner))
        }
        BecomeMethod::Doas => {
            let flags = wanted.flags.clone().unwrap_or_default();
            let how = if ask { "" } else { "-n" };
            format!("exec {exe} {flags} {how} -u {user} sh -c '{inner}'")
        }
    }
}

/// Runs the method under `script`, which gives it a terminal to ask on; the elevated shell itself
/// stays on the pipes, which change no byte.
fn on_a_terminal(wanted: &Become, words: &Words, way: Way) -> String {
    let command = format!("{} <&3 >&4 2>&5", command(wanted, words, way));
    let answer = match way {
        // The password is one line of our input, decoded into the terminal.
        Way::TerminalAsks => "{ IFS= read -r p && echo \"$p\" | base64 -d && echo; } <&3 |",
        _ => "</dev/null",
    };
    format!(
        "exec 3<&0 4>&1 5>&2; if command -v script >/dev/null 2>&1; then \
         {answer} SHELL=/bin/sh script -q -c {} /dev/null >&5 2>&5 3<&3 4>&4 5>&5; \
         else echo {} >&2; fi",
        quote(&command),
        quote("it insists on a terminal, and there is no `script` on this host to give it one")
    )
}

enum Turn {
    Ready,
    Prompt,
    Ended,
}

/// What came so far.
#[derive(Default)]
struct Seen {
    out: Vec<u8>,
    err: Vec<u8>,
    timed_out: bool,
    way: Way,
}

impl Seen {
    async fn wait(&mut self, channel: &mut Channel, words: &Words, wanted: &Become) -> Turn {
        let turn = tokio::time::timeout(PATIENCE, self.watch(channel, words, wanted)).await;
        turn.unwrap_or_else(|_| {
            self.timed_out = true;
            Turn::Ended
        })
    }

    async fn watch(&mut self, channel: &mut Channel, words: &Words, wanted: &Become) -> Turn {
        let ready = format!("{}\n", words.ready);
        let (mut out_open, mut err_open) = (true, true);
        let mut byte = [0u8; 1];
        let mut chunk = [0u8; 512];
        loop {
            // What the method wrote to its terminal comes with stderr, where it would be taken for a
            // command's: sudo's newline after a password, say. The token is behind it.
            let terminal_is_quiet = self.way == Way::Pipes || has_line(&self.err, &words.ready);
            let shell_is_ready = self.out.ends_with(ready.as_bytes());
            if terminal_is_quiet && shell_is_ready {
                return Turn::Ready;
            }
            let asked = match wanted.method {
                BecomeMethod::Sudo => contains(&self.err, &words.prompt),
                // It was told not to ask.
                BecomeMethod::Doas if self.way != Way::TerminalAsks => false,
                BecomeMethod::Su | BecomeMethod::Doas => {
                    [&self.err, &self.out].iter().any(|said| asks(said, wanted))
                }
            };
            if asked {
                return Turn::Prompt;
            }
            let out_may_come = out_open && !shell_is_ready;
            if !out_may_come && !err_open || self.out.len() + self.err.len() > MAX_BANNER {
                return Turn::Ended;
            }
            tokio::select! {
                // Byte by byte: what follows the ready token belongs to the shell.
                read = channel.stdout.read(&mut byte), if out_may_come => match read {
                    Ok(1) => self.out.push(byte[0]),
                    _ => out_open = false,
                },
                read = channel.stderr.read(&mut chunk), if err_open => match read {
                    Ok(n) if n > 0 => self.err.extend_from_slice(&chunk[..n]),
                    _ => err_open = false,
                },
            }
        }
    }

    fn forget_prompt(&mut self) {
        self.err.clear();
        self.out.clear();
    }

    /// Whether it refused only because there is no terminal.
    fn wants_terminal(&self, wanted: &Become) -> bool {
        let said = String::from_utf8_lossy(&self.err).to_lowercase();
        if wanted.method == BecomeMethod::Doas {
            let can = wanted.password.is_some() && self.way == Way::Pipes;
            return can && said.contains("authentication required");
        }
        ["must have a tty", "a terminal is required", "a tty is required", "no tty present"]
            .iter()
            .any(|words| wanted.method != BecomeMethod::Su && said.contains(words))
    }

    fn refusal(&self, wanted: &Become) -> RemoteError {
        let said = format!("{}{}", String::from_utf8_lossy(&self.err), String::from_utf8_lossy(&self.out));
        let said: String = said.trim().chars().take(300).collect();
        let lower = said.to_lowercase();
        let name = wanted.method.name();
        if self.timed_out {
            return failure(
                wanted,
                format!("{name} did not answer within {} s; it said: {said}", PATIENCE.as_secs()),
            );
        }
        if lower.contains("incorrect password")
            || lower.contains("authentication fail")
            || lower.contains("try again")
        {
            return failure(wanted, "the password is wrong".into());
        }
        if lower.contains("password is required") || lower.contains("authentication required") {
            return failure(wanted, "it asks for a password and none was given".into())
                .with_help("give it with -K, or set ansible_become_password in an encrypted file");
        }
        if self.wants_terminal(wanted) {
            return failure(wanted, format!("{name} on this host insists on a terminal")).with_help(
                "allow it without one there (Defaults !requiretty), or use another become method",
            );
        }
        if lower.contains("not found") {
            return failure(wanted, format!("there is no {name} on this host"));
        }
        failure(wanted, if said.is_empty() { format!("{name} ended without a word") } else { said })
    }
}

/// Whether a prompt in whatever language was said: text that ends in a colon and not in a newline.
/// The program's name with a colon is the first piece of a complaint, the rest of which follows.
fn asks(said: &[u8], wanted: &Become) -> bool {
    let exe = wanted.exe.as_deref().unwrap_or(wanted.method.name());
    let name = exe.split(' ').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let text = String::from_utf8_lossy(said);
    let line = text.rsplit('\n').next().unwrap_or_default().trim_end_matches(' ');
    line.ends_with([':', '\u{ff1a}']) && line.strip_suffix(':') != Some(name)
}

/// Whether a line ends in that word; each terminal on the way adds a `\r`.
fn has_line(said: &[u8], word: &str) -> bool {
    let said = String::from_utf8_lossy(said);
    let mut lines = said.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    lines.any(|line| line.trim_end_matches('\r').ends_with(word))
}

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len().max(1)).any(|w| w == needle.as_bytes())
}

fn failure(wanted: &Become, why: String) -> RemoteError {
    RemoteError {
        kind: RemoteErrorKind::Become,
        message: format!("can't become {} with {}: {why}", wanted.user, wanted.method.name()),
        help: None,
    }
}

impl RemoteError {
    pub fn with_help(mut self, help: impl Into<String>) -> RemoteError {
        self.help = Some(help.into());
        self
    }
}
