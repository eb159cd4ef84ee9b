//! Nothing secret is in an argument list, an environment or a temporary file of the host.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use seqn_play::remote::{Command, Connections, Content, Effect, TransportKind};
use seqn_play::source::Text;

use crate::fixture::{SHELLS, Sh, Sshd, within};
use crate::suite::write;

const MARK: &str = "s3cr3t-4711-mark";

/// Looks at every process and at the places for temporary files, again and again.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(BTreeSet<String>, usize)>,
}

impl Watch {
    fn start() -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut found, mut rounds) = (BTreeSet::new(), 0);
            while !stopped.load(Ordering::Relaxed) {
                look(&mut found);
                rounds += 1;
            }
            (found, rounds)
        });
        Watch { stop, thread }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (found, rounds) = self.thread.join().unwrap();
        assert!(rounds > 2, "looked only {rounds} times");
        assert!(found.is_empty(), "{found:?}");
    }
}

fn look(found: &mut BTreeSet<String>) {
    let holds = |path: &std::path::Path| {
        std::fs::read(path).is_ok_and(|bytes| bytes.windows(MARK.len()).any(|w| w == MARK.as_bytes()))
    };
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        for part in ["cmdline", "environ"] {
            let path = process.path().join(part);
            if holds(&path) {
                found.insert(part.to_string());
            }
        }
    }
    // Here-documents of some shells are such files.
    for file in std::fs::read_dir("/tmp").unwrap().flatten() {
        let fresh = |m: &std::fs::Metadata| {
            m.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age < Duration::from_secs(60)))
        };
        let small = file.metadata().is_ok_and(|m| m.is_file() && m.len() < 1 << 20 && fresh(&m));
        if small && holds(&file.path()) {
            found.insert(file.path().display().to_string());
        }
    }
}

fn on(sh: Sh) {
    let Some(sshd) = Sshd::start(sh) else { return };
    within(120, async {
        let connections = Connections::new();
        let target = connections.target("host", &sshd.connection(TransportKind::Native)).await.unwrap();
        target.stat("/").await.unwrap();
        let watch = Watch::start();
        for size in [100, 20_000, 200_000] {
            let text = format!("{}{MARK}", "x".repeat(size));
            let path = sshd.dir.path().join("secret");
            target.apply(&write(&path, Content::Text(Text::secret(text.as_str())))).await.unwrap();
            assert!(std::fs::read_to_string(&path).unwrap() == text);
            let script = Text::secret(format!("x={MARK}; sleep 0.3; echo ${{#x}}"));
            let command = Command::shell(script).timeout(Duration::from_secs(20));
            for command in [command.clone(), Command { timeout: None, ..command }] {
                let said = target.apply(&Effect::Run(command)).await.unwrap();
                assert_eq!(said.stdout_text(), format!("{}\n", MARK.len()));
            }
            let command = Command::argv(["sh", "-c", "sleep 0.3; wc -c"]).stdin(Text::secret(text.as_str()));
            let said = target.apply(&Effect::Run(command)).await.unwrap();
            assert_eq!(said.stdout_text().trim(), text.len().to_string());
        }
        watch.end();
        connections.close().await;
    });
}

/// One after the other: each would see what another does wrong.
#[test]
fn secrets_show_nowhere() {
    SHELLS.into_iter().for_each(on);
}
