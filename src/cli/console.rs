//! The operator's terminal: prompts, with and without echo.

use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use async_trait::async_trait;

use crate::module::control::Console;
use crate::report::{Paint, Screen};

/// Asks at `/dev/tty`; nobody is there when standard input is not a terminal.
pub struct TerminalConsole {
    pub screen: Arc<Screen>,
}

#[async_trait]
impl Console for TerminalConsole {
    async fn ask(&self, prompt: &str, echo: bool) -> Option<String> {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        self.say(prompt);
        tokio::task::spawn_blocking(move || read_tty(echo)).await.ok().flatten()
    }

    fn ask_now(&self, prompt: &str, echo: bool) -> Option<String> {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        self.say(prompt);
        read_tty(echo)
    }

    fn say(&self, text: &str) {
        self.screen.line(Paint::Plain, text);
    }
}

/// A password typed at `/dev/tty`, for `-k` and `-K`.
///
/// # Errors
/// There is no terminal.
pub fn ask_password(prompt: &str) -> Result<String, String> {
    let mut tty = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/tty")
        .map_err(|_| "there is no terminal to ask for a password".to_string())?;
    tty.write_all(prompt.as_bytes()).map_err(|e| format!("can't write to the terminal: {e}"))?;
    read_tty(false).ok_or_else(|| "no password was typed".to_string())
}

fn read_tty(echo: bool) -> Option<String> {
    let tty = std::fs::OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
    let _quiet = (!echo).then(|| Quiet::new(tty.as_raw_fd())).flatten();
    let mut line = String::new();
    let read = BufReader::new(&tty).read_line(&mut line).ok()?;
    if !echo {
        // The newline that was typed was not shown.
        (&tty).write_all(b"\n").ok()?;
    }
    (read > 0).then(|| line.trim_end_matches(['\n', '\r']).to_string())
}

/// Turns echo off until dropped.
struct Quiet {
    fd: i32,
    before: libc::termios,
}

impl Quiet {
    fn new(fd: i32) -> Option<Quiet> {
        // SAFETY: tcgetattr fills the termios that it is given; fd is open for as long as Quiet.
        unsafe {
            let mut before: libc::termios = std::mem::zeroed();
            if libc::tcgetattr(fd, &mut before) != 0 {
                return None;
            }
            let mut quiet = before;
            quiet.c_lflag &= !libc::ECHO;
            libc::tcsetattr(fd, libc::TCSANOW, &quiet);
            Some(Quiet { fd, before })
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // SAFETY: restores what tcgetattr gave for the same descriptor.
        unsafe { libc::tcsetattr(self.fd, libc::TCSANOW, &self.before) };
    }
}
