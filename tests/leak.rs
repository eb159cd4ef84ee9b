//! No password is seen: the rotation runs at -vvv with --diff, then again with every one of its
//! tasks failing in turn, and neither the old nor the new password, in any encoding, is in what it
//! says, in any process list, in any log or in any file but those that hold it on purpose.

#[path = "support/leak/mod.rs"]
mod leak;
mod support;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Mutex;

use leak::cases::{self, Case};
use leak::sandbox::Sandbox;
use leak::search::Search;
use leak::watch::Watch;

/// Two at a time: most of a run is waiting for services.
const SANDBOXES: usize = 2;

#[test]
fn no_password_is_seen_however_the_rotation_ends() {
    let Some(staging) = leak::sandbox::staging() else { return };
    let search = Search::default();
    let watch = Watch::start(&search, &["cmdline"]);
    let cases = cases::all();
    assert!(cases.len() > 30, "only {} tasks were found", cases.len());
    let queue = Mutex::new(VecDeque::from(cases));
    let next = || queue.lock().unwrap().pop_front();
    let found: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..SANDBOXES)
            .map(|_| {
                scope.spawn(|| {
                    let sandbox = Sandbox::raise(&staging);
                    let mut found = Vec::new();
                    while let Some(case) = next() {
                        found.extend(rotate(&sandbox, &case, &search));
                    }
                    found
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    });
    let seen = watch.stop();
    let all: Vec<String> = found.into_iter().chain(seen).collect();
    assert!(all.is_empty(), "{} leaks:\n{}", all.len(), all.join("\n"));
}

/// One run with a new password; what was found of it and of the old one.
fn rotate(sandbox: &Sandbox, case: &Case, search: &Search) -> Vec<String> {
    let old = sandbox.present_password();
    let new =
        seqn_play::secret::generate("0123456789abcdefghijklmnopqrstuvwxyzABCDEF", 40).expect("a password");
    let new = new.expose().expect("text");
    search.add(&old);
    search.add(new);
    let ran = sandbox.rotate(case, new);
    case.judge(&ran, &old, &sandbox.present_password(), new);
    let mut found = search.in_text(&format!("{case}: output"), ran.said.as_bytes());
    let files = sandbox.files(ran.since);
    let is_server_log = |path: &PathBuf| {
        path.ends_with("log")
            && String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).contains("statement: ")
    };
    // One that fails early asks the servers nothing.
    let is_logged = !case.succeeds() || files.iter().any(is_server_log);
    assert!(is_logged, "{case}: no log of Postgres is among {files:#?}");
    assert!(!search.in_file(&sandbox.env_file()).is_empty(), "not even .env holds the password");
    found.extend(files.into_iter().flat_map(|path| search.in_file(&path)));
    found
}

#[test]
fn a_planted_secret_is_found() {
    let search = Search::default();
    let secret = "Pl4ntedPl4ntedPl4ntedPl4nted";
    search.add(secret);
    let dir = tempfile::tempdir().unwrap();
    let encoded = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(format!("user:{secret}"))
    };
    assert!(search.in_text("output", b"nothing here").is_empty());
    assert_eq!(search.in_text("output", format!("x{secret}x").as_bytes()).len(), 1);
    assert_eq!(search.in_text("output", encoded.as_bytes()).len(), 1);
    let file = dir.path().join("below/file");
    std::fs::create_dir(dir.path().join("below")).unwrap();
    let began = std::time::SystemTime::now();
    std::fs::write(&file, [&[0xff; 100_000], secret.as_bytes()].concat()).unwrap();
    let files = leak::search::changed_files(&[dir.path().to_path_buf()], began);
    assert_eq!(files, std::slice::from_ref(&file));
    assert_eq!(search.in_file(&file).len(), 1);

    let watch = Watch::start(&search, &["cmdline"]);
    let shown = std::process::Command::new("sh").args(["-c", "sleep 0.5", secret]).status().unwrap();
    assert!(shown.success());
    let seen = watch.stop();
    // The shell, and perhaps its child before that became `sleep`.
    assert!(!seen.is_empty() && seen.iter().all(|place| place.contains("sleep 0.5")), "{seen:?}");
}
