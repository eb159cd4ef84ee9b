//! Reads the process list every 10 ms.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::search::Search;

const INTERVAL: Duration = Duration::from_millis(10);

pub struct Watch {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<String>>,
}

impl Watch {
    /// `parts` are `cmdline`, `environ` or both.
    pub fn start(search: &Search, parts: &'static [&'static str]) -> Watch {
        let ends = Arc::new(AtomicBool::new(false));
        let (until, search) = (ends.clone(), search.clone());
        let thread = std::thread::spawn(move || {
            let mut found = BTreeSet::new();
            while !until.load(Ordering::Relaxed) {
                let began = Instant::now();
                for process in fs::read_dir("/proc").expect("a process list").flatten() {
                    let pid = process.file_name().to_string_lossy().into_owned();
                    if !pid.starts_with(|c: char| c.is_ascii_digit()) {
                        continue;
                    }
                    for part in parts {
                        if let Ok(text) = fs::read(process.path().join(part)) {
                            found.extend(search.in_text(&format!("{part} of process {pid}"), &text));
                        }
                    }
                }
                std::thread::sleep(INTERVAL.saturating_sub(began.elapsed()));
            }
            found
        });
        Watch { ends, thread }
    }

    /// The processes that showed a secret.
    pub fn stop(self) -> Vec<String> {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic").into_iter().collect()
    }
}
