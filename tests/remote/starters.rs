//! Many that want one lock at once, some of them killed: never two, and nobody is kept out for ever.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt;
use seqn_play::remote::{
    Command, Connections, Effect, EffectId, HostLock, LockRequest, RemoteErrorKind, Target, TransportKind,
};

use crate::fixture::{SHELLS, Sshd, connection, find, here, me, skip, within};
use crate::lock::Project;

const STARTERS: usize = 12;

/// The first ones, of each transport some.
const KILLED: usize = 6;

/// How often each takes the lock.
const ROUNDS: usize = 3;

#[test]
fn never_two_holders() {
    if let Ok(number) = std::env::var("STARTER") {
        return within(200, start(number.parse().unwrap()));
    }
    // Every shell takes part.
    let servers: Vec<Sshd> = SHELLS.iter().filter_map(|sh| Sshd::start(*sh)).collect();
    if servers.is_empty() {
        return;
    }
    let project = Project::new();
    let witness = tempfile::tempdir().unwrap();
    let mut all: Vec<Child> = (0..STARTERS)
        .map(|number| {
            let server = &servers[number % servers.len()];
            Process::new(std::env::current_exe().unwrap())
                .args(["--exact", "starters::never_two_holders", "--nocapture", "--test-threads=1"])
                .env("STARTER", number.to_string())
                .env("PROJECT", &project.0)
                .env("WITNESS", witness.path().join("w"))
                .env("PORT", server.port.to_string())
                .env("DIR", server.dir.path())
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let began = Instant::now();
    for (number, child) in all.iter_mut().enumerate().take(KILLED) {
        std::thread::sleep(Duration::from_millis(rand::rng().random_range(300..2500)));
        // With what it started here, also in the middle of a step.
        kill_all_of(number);
        child.kill().ok();
    }
    let (mut killed, mut said) = (0, String::new());
    for (number, child) in all.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!text.contains("VIOLATION"), "{number}: {text}");
        if number < KILLED && !output.status.success() {
            killed += 1;
            continue;
        }
        assert!(output.status.success() && text.contains("got in everywhere"), "{number}: {text}");
        said.push_str(
            &text
                .lines()
                .filter(|l| l.contains("broke") || l.contains("lost it"))
                .map(|l| format!("{l}\n"))
                .collect::<String>(),
        );
    }
    assert!(killed > 0, "all were done before they were killed");
    assert_eq!(std::fs::read_dir(witness.path()).unwrap().count(), 0);
    writeln!(std::io::stderr(), "{killed} killed, {:?}\n{said}", began.elapsed()).ok();
}

/// Whatever has the number in its environment.
fn kill_all_of(number: usize) {
    let mark = format!("\0STARTER={number}\0");
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let text = format!("\0{}\0", String::from_utf8_lossy(&environment));
        if text.contains(&mark) && pid != std::process::id() as i32 {
            // SAFETY: a process of this test, by its environment.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

/// One of them: in, the witness made and taken away by effects, out.
async fn start(number: usize) {
    let set = |name: &str| std::env::var(name).unwrap();
    let port = set("PORT").parse().unwrap();
    let over = |transport| connection(transport, port, &me(), Path::new(&set("DIR")));
    let connection = match number % 3 {
        0 => here(),
        1 if find("ssh").is_some() => over(TransportKind::Ssh),
        _ => over(TransportKind::Native),
    };
    let witness = set("WITNESS");
    let connections = Connections::new();
    let mut round = 0;
    let mut lost = 0;
    while round < ROUNDS {
        let run = format!("{}-{round}-{lost}", std::process::id());
        let holder = seqn_play::remote::Holder {
            run,
            who: format!("starter {number}"),
            from: "here".into(),
            program: std::process::id().to_string(),
        };
        let request = LockRequest {
            lease: Duration::from_secs(4),
            wait: Some(Duration::from_secs(150)),
            break_dead: true,
            ..LockRequest::new(set("PROJECT"), holder)
        };
        let lock = connections.lock("host", &connection, &request, |_| {}).await.unwrap();
        clear(&lock, Path::new(&witness));
        let target = connections.target("host", &connection).await.unwrap();
        match inside(&target, &request.holder.run, &witness).await {
            true => {
                lock.release().await.unwrap();
                round += 1;
            }
            // Who lost it learns of it, and begins anew.
            false => lost += 1,
        }
    }
    writeln!(std::io::stderr(), "got in everywhere, lost it {lost} times").ok();
    connections.close().await;
}

/// Takes away what a killed holder left; anything else is a second holder.
fn clear(lock: &HostLock, witness: &Path) {
    for entry in std::fs::read_dir(witness).into_iter().flatten().flatten() {
        let pid = entry.file_name().into_string().unwrap();
        let broke = lock.broke().map(|by| by.holder.run.as_str()).unwrap_or_default();
        let dead = !alive(&pid);
        writeln!(std::io::stderr(), "broke {broke:?}, found {pid}, dead: {dead}").ok();
        if !dead && broke.split('-').next() != Some(&pid) {
            writeln!(std::io::stderr(), "VIOLATION: {pid} is in there too").ok();
        }
        std::fs::remove_dir(entry.path()).ok();
    }
    std::fs::remove_dir(witness).ok();
}

fn alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Whether it had the lock until the end.
async fn inside(target: &Target, run: &str, witness: &str) -> bool {
    let pid = std::process::id();
    let effects = [
        format!("mkdir {witness} && sleep 0.2 && mkdir {witness}/{pid}"),
        format!("rmdir {witness}/{pid} && sleep 0.1 && rmdir {witness}"),
    ];
    for (n, script) in effects.iter().enumerate() {
        let id = EffectId { run: run.into(), effect: n.to_string(), user: None };
        match target.apply_as(&Effect::Run(Command::shell(script.as_str())), &id).await {
            Ok(said) if said.success() => {}
            Ok(said) => {
                writeln!(std::io::stderr(), "VIOLATION: {}", said.stderr_text()).ok();
                return true;
            }
            Err(e) if e.kind == RemoteErrorKind::Conflict => return false,
            Err(e) => panic!("{e}"),
        }
        let pause = rand::rng().random_range(0..400);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    true
}

const FUNCTIONS: &str = concat!(
    include_str!("../../src/remote/prelude.sh"),
    include_str!("../../src/remote/lock/alive.sh"),
    include_str!("../../src/remote/lock/lock.sh"),
);

/// Every command that the functions run counts as a step; at one of them the shell is killed.
const STEPS: &str = r#"
step() { [ "$AT" != 0 ] || return 0; echo x >>"$STEPS"; if [ "$(wc -l <"$STEPS")" -eq "$AT" ]; then kill -9 $$; exit 1; fi; }
for tool in ln touch stat rm head find date base64 mkdir; do
  eval "$tool() { step; command $tool \"\$@\"; step; }"
done
"#;

/// Whoever is killed between any two steps leaves a lock that can be judged, and taken over.
#[test]
fn killed_between_any_two_steps() {
    let dir = tempfile::tempdir().unwrap();
    for sh in SHELLS {
        let Some(path) = sh.path(dir.path()) else {
            skip(&format!("there is no {} on this machine", sh.name()));
            continue;
        };
        let project = Project::new();
        let (base, steps) = (project.dir().display().to_string(), dir.path().join("steps"));
        let run = |at: usize, script: &str| {
            std::fs::write(&steps, "").unwrap();
            let ran = Process::new("sh")
                .args(["-c", &format!("{FUNCTIONS}\n{STEPS}\n{script}")])
                .env("PATH", &path)
                .env("STEPS", &steps)
                .env("AT", at.to_string())
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
            (ran.status.success(), said)
        };
        // Its file has a name that was never used, as a token is.
        let named = AtomicU32::new(0);
        let take = |who: &str| {
            let name = named.fetch_add(1, Ordering::Relaxed);
            format!("l_shared {base} && l_shared {base}/effects && l_take {base} 60 1 {who} run {name} mark")
        };
        let mut kills = 0;
        for at in 1.. {
            if run(at, &take("a2lsbGVk")).0 {
                break;
            }
            kills += 1;
            // Alive as long as its lease; afterwards there is always a way in, for one of two.
            let (ok, said) = run(0, &format!("{}\n{}", take("bmV4dA=="), take("bGF0ZQ==")));
            let lines: Vec<&str> =
                said.lines().filter(|l| l.starts_with("taken") || l.starts_with("held")).collect();
            assert!(ok && lines.len() == 2 && lines[1].starts_with("held"), "{}, {at}: {said}", sh.name());
            let expire = "l_highest \"$base\"; command touch -m -d @1 \"$base/lock.$l_h\"";
            let (ok, said) = run(0, &format!("base={base}\n{expire}\n{}", take("bmV4dA==")));
            assert!(ok && said.contains("taken") && said.contains("expired"), "{}, {at}: {said}", sh.name());
            // Free for the next pass; or on every other one still held, by who is dead.
            let last = if at % 2 == 0 {
                "l_release \"$base\" \"$l_h\""
            } else {
                "command touch -m -d @1 \"$base/lock.$l_h\""
            };
            run(0, &format!("base={base}\nl_highest \"$base\"\n{last}"));
        }
        assert!(kills > 15, "{}: {kills}", sh.name());
    }
}
