//! The one way out: standard output and error behind the Redactor.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use unicode_width::UnicodeWidthChar;

use crate::secret::Redactor;

/// Colour by meaning; Ansible's colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    Plain,
    Ok,
    Changed,
    Skipped,
    Failed,
    Unreachable,
    Warning,
    Verbose,
    Added,
    Removed,
    Hunk,
    Faint,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Paint::Plain => "",
            Paint::Ok | Paint::Added => "32",
            Paint::Changed => "33",
            Paint::Skipped | Paint::Hunk => "36",
            Paint::Failed | Paint::Removed => "31",
            Paint::Unreachable => "1;31",
            Paint::Warning => "1;35",
            Paint::Verbose => "34",
            Paint::Faint => "2",
        }
    }
}

/// Standard output and error; every byte passes the Redactor first.
pub struct Screen {
    redactor: Arc<Redactor>,
    out: Mutex<Box<dyn Write + Send>>,
    err: Mutex<Box<dyn Write + Send>>,
    colour: bool,
    /// Columns of the terminal; 80 in a pipe.
    pub width: usize,
    live: Option<Live>,
}

/// What runs now, with elapsed time, below the printed lines. Only at a terminal.
struct Live {
    bars: MultiProgress,
    running: Mutex<HashMap<String, ProgressBar>>,
}

impl Screen {
    /// The process's own streams. Colour and live status only at a terminal; `NO_COLOR` (any
    /// value) and `ANSIBLE_NOCOLOR` turn colour off, `ANSIBLE_FORCE_COLOR` turns it on.
    pub fn standard(redactor: Arc<Redactor>) -> Screen {
        let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
        let terminal = std::io::stdout().is_terminal();
        let dumb = std::env::var("TERM").is_ok_and(|t| t == "dumb");
        let no_colour = set("NO_COLOR") || set("ANSIBLE_NOCOLOR");
        let live = (terminal && !dumb).then(|| Live {
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stdout()),
            running: Mutex::default(),
        });
        Screen {
            redactor,
            out: Mutex::new(Box::new(std::io::stdout())),
            err: Mutex::new(Box::new(std::io::stderr())),
            colour: !no_colour && ((terminal && !dumb) || set("ANSIBLE_FORCE_COLOR")),
            width: live.as_ref().map_or(80, |_| columns()),
            live,
        }
    }

    /// Any two writers, without colour: for tests and for files.
    pub fn to(redactor: Arc<Redactor>, out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Screen {
        Screen { redactor, out: Mutex::new(out), err: Mutex::new(err), colour: false, width: 80, live: None }
    }

    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    pub fn has_colour(&self) -> bool {
        self.colour
    }

    /// `text` in a colour, if there is colour.
    pub fn paint(&self, paint: Paint, text: &str) -> String {
        if !self.colour || paint == Paint::Plain || text.is_empty() {
            return text.to_string();
        }
        format!("\x1b[{}m{text}\x1b[0m", paint.code())
    }

    /// A line on standard output.
    pub fn line(&self, paint: Paint, text: &str) {
        let painted = self.paint(paint, &self.redactor.redact(text));
        self.write(&self.out, &painted);
    }

    /// A value for programs, in one line that is JSON whatever had to be hidden.
    pub fn json_line(&self, mut value: serde_json::Value) {
        self.redactor.redact_json(&mut value);
        self.write(&self.out, &value.to_string());
    }

    /// A line whose parts have their own colours already (by [`Screen::paint`]).
    pub fn painted_line(&self, text: &str) {
        let text = self.redactor.redact(text);
        self.write(&self.out, &text);
    }

    /// A line on standard error.
    pub fn error_line(&self, paint: Paint, text: &str) {
        let painted = self.paint(paint, &self.redactor.redact(text));
        self.write(&self.err, &painted);
    }

    fn write(&self, to: &Mutex<Box<dyn Write + Send>>, text: &str) {
        let write = || {
            let mut to = to.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            // A reader that went away (`| head`) must not end a run in the middle of an effect.
            writeln!(to, "{text}").and_then(|()| to.flush()).ok()
        };
        match &self.live {
            Some(live) => live.bars.suspend(write),
            None => write(),
        };
    }

    /// Shows that `what` is running on `host`.
    pub fn running(&self, host: &str, what: &str) {
        let Some(live) = &self.live else { return };
        let what = self.redactor.redact(what);
        let room = self.width.saturating_sub(host.len() + 14).max(8);
        let mut columns = 0;
        let fits = |c: &char| {
            columns += c.width().unwrap_or(0);
            columns <= room
        };
        let one_line = what.chars().map(|c| if c.is_control() { ' ' } else { c });
        let shown: String = one_line.take_while(fits).collect();
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_prefix(format!("[{host}]"));
        bar.set_message(shown);
        // Complete before it is seen.
        let bar = live.bars.add(bar);
        bar.enable_steady_tick(Duration::from_millis(120));
        let previous = live.running.lock().unwrap_or_else(|p| p.into_inner()).insert(host.to_string(), bar);
        if let Some(previous) = previous {
            previous.finish_and_clear();
        }
    }

    /// It isn't any more.
    pub fn finished(&self, host: &str) {
        let Some(live) = &self.live else { return };
        if let Some(bar) = live.running.lock().unwrap_or_else(|p| p.into_inner()).remove(host) {
            bar.finish_and_clear();
        }
    }
}

fn columns() -> usize {
    // SAFETY: TIOCGWINSZ fills the winsize that it is given.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    let asked = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &mut size) };
    if asked == 0 && size.ws_col > 0 { size.ws_col as usize } else { 80 }
}
