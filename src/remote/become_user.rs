//! Becoming another user: sudo, su, doas.
//!
//! The password is sent only after the prompt was seen, and the elevated shell says that it is
//! ready before anything else is sent: a password that nobody asked for would be a command line.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connections::Link;
use super::quote::quote;
use super::shell::{Channel, token};
use super::{RemoteError, RemoteErrorKind};
use crate::source::Text;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
#[derive(Debug, Clone)]
pub struct Become {
    pub method: BecomeMethod,
    pub user: String,
    pub password: Option<Text>,
    /// Instead of the method's own flags.
    pub flags: Option<String>,
    /// Instead of the method's own name.
    pub exe: Option<String>,
}

/// How long a prompt, and the answer to a password, may take. Failed sudo attempts are slow on
/// purpose.
const PATIENCE: Duration = Duration::from_secs(20);

/// Opens a channel as the wanted user, on which the bootstrap runs.
///
/// # Errors
/// A wrong or missing password, a user who may not, a method that isn't there.
pub async fn open(link: &dyn Link, wanted: &Become) -> Result<Channel, RemoteError> {
    let ready = token();
    let prompt = format!("seqn-{}", token());
    let command = command(wanted, &ready, &prompt);
    let mut channel = link.open(&command).await?;
    let mut seen = Seen::default();
    match seen.wait(&mut channel, &ready, &prompt, wanted.method).await {
        Turn::Ready => return Ok(channel),
        Turn::Prompt => {}
        Turn::Ended => return Err(seen.refusal(wanted)),
    }
    let Some(password) = &wanted.password else {
        return Err(failure(wanted, "it asks for a password and none was given".into())
            .with_help("give it with -K, or set ansible_become_password in an encrypted file"));
    };
    let sent = async {
        channel.stdin.write_all(password.as_bytes()).await?;
        channel.stdin.write_all(b"\n").await?;
        channel.stdin.flush().await
    };
    if sent.await.is_err() {
        return Err(seen.refusal(wanted));
    }
    seen.forget_prompt();
    match seen.wait(&mut channel, &ready, &prompt, wanted.method).await {
        Turn::Ready => Ok(channel),
        Turn::Prompt => Err(failure(wanted, "the password is wrong".into())),
        Turn::Ended => Err(seen.refusal(wanted)),
    }
}

fn command(wanted: &Become, ready: &str, prompt: &str) -> String {
    let inner = format!("echo {ready}; IFS= read -r l; eval \"$l\"");
    let user = quote(&wanted.user);
    let exe = wanted.exe.clone().unwrap_or_else(|| wanted.method.name().to_string());
    let ask = wanted.password.is_some();
    match wanted.method {
        BecomeMethod::Sudo => {
            let flags = wanted.flags.clone().unwrap_or_else(|| "-H".into());
            let how = if ask { format!("-S -p {prompt}") } else { "-n".into() };
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
}

impl Seen {
    async fn wait(&mut self, channel: &mut Channel, ready: &str, prompt: &str, method: BecomeMethod) -> Turn {
        let turn = tokio::time::timeout(PATIENCE, self.watch(channel, ready, prompt, method)).await;
        turn.unwrap_or_else(|_| {
            self.timed_out = true;
            Turn::Ended
        })
    }

    async fn watch(
        &mut self,
        channel: &mut Channel,
        ready: &str,
        prompt: &str,
        method: BecomeMethod,
    ) -> Turn {
        let ready = format!("{ready}\n");
        let (mut out_open, mut err_open) = (true, true);
        let mut byte = [0u8; 1];
        let mut chunk = [0u8; 512];
        loop {
            if self.out.ends_with(ready.as_bytes()) {
                return Turn::Ready;
            }
            let asked = match method {
                BecomeMethod::Sudo => contains(&self.err, prompt),
                BecomeMethod::Su | BecomeMethod::Doas => {
                    contains(&self.err, "assword") || contains(&self.out, "assword")
                }
            };
            if asked {
                return Turn::Prompt;
            }
            if !out_open && !err_open {
                return Turn::Ended;
            }
            tokio::select! {
                // Byte by byte: what follows the ready token belongs to the shell.
                read = channel.stdout.read(&mut byte), if out_open => match read {
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
        if lower.contains("must have a tty")
            || lower.contains("a terminal is required")
            || lower.contains("a tty is required")
        {
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
