//! Event → what people and programs read. A reporter is one file and one line in [`reporter`].
//!
//! Every byte goes through [`Screen`], and so through the Redactor.

mod diff;
pub mod facts;
pub mod hooks;
mod json;
mod junit;
mod markup;
mod minimal;
mod note;
pub mod rehearsal;
mod screen;
mod terminal;

use std::sync::{Arc, Mutex};

use crate::engine::event::{Event, Sink};

pub use diff::unified;
pub use note::Note;
pub use screen::{Paint, Screen};

/// Consumes the Events of a run, in order.
pub trait Reporter: Send {
    fn on(&mut self, event: &Event, screen: &Screen);
}

/// The formats of `--output`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// Ansible's lines, live at a terminal.
    #[default]
    Text,
    /// One JSON event a line.
    Json,
    /// One JUnit document at the end.
    #[value(name = "junit")]
    JUnit,
    /// What `ansible` prints: a host and its result.
    Minimal,
    /// As minimal, in one line.
    #[value(name = "oneline")]
    OneLine,
}

/// What a reporter should show.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// The number of `-v`.
    pub verbosity: u8,
    pub diff: bool,
    pub check: bool,
}

pub fn reporter(format: Format, settings: Settings) -> Box<dyn Reporter> {
    match format {
        Format::Text => Box::new(terminal::Terminal::new(settings)),
        Format::Json => Box::new(json::JsonLines),
        Format::JUnit => Box::new(junit::JUnit::default()),
        Format::Minimal => Box::new(minimal::Minimal { one_line: false, diff: settings.diff }),
        Format::OneLine => Box::new(minimal::Minimal { one_line: true, diff: settings.diff }),
    }
}

/// Hands every Event to the reporters, one after the other.
pub struct Reporters {
    screen: Arc<Screen>,
    reporters: Mutex<Vec<Box<dyn Reporter>>>,
}

impl Reporters {
    pub fn new(screen: Arc<Screen>, reporters: Vec<Box<dyn Reporter>>) -> Reporters {
        Reporters { screen, reporters: Mutex::new(reporters) }
    }

    /// One more from now on: of a run that keeps a journal.
    pub fn add(&self, reporter: Box<dyn Reporter>) {
        self.reporters.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(reporter);
    }
}

impl Sink for Reporters {
    fn send(&self, event: Event) {
        let mut reporters = self.reporters.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for reporter in reporters.iter_mut() {
            reporter.on(&event, &self.screen);
        }
    }
}
