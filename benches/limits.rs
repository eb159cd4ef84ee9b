//! What the program costs, in one run on one machine, against the limits that it has to keep:
//! `make bench`. Prints one Markdown table; exit status 1 if a limit isn't kept.
//!
//! Times are the best of several runs, which other work on the machine disturbs least. Round trips
//! and bytes are counted in the protocol and exact.

#[path = "support/hiding.rs"]
mod hiding;
#[path = "support/sshd.rs"]
mod sshd;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use sshd::Sshd;

const TASKS: usize = 50;
const LINT_TASKS: usize = 200;
const SECRETS: usize = 1000;
const RUNS: usize = 7;

/// Limits; see the rows.
const RATIO: f64 = 2.0;
const START: f64 = 10.0;
const LINT: f64 = 30.0;
const MEMORY: f64 = 30.0;
const HIDING: f64 = 5.0;

fn main() -> ExitCode {
    let bench = Bench::new();
    let mut table = Table::default();
    let raw = best(|| bench.raw());
    table.row("raw `ssh host sh -s`, 50 greps", ms(raw), None);
    let mut memory = 0.0_f64;
    let mut over_ssh = None;
    for transport in ["ssh", "native", "local"] {
        let what = format!("{TASKS} satisfied `lineinfile`, {transport}");
        match bench.transport(transport) {
            Ok(measured) => {
                memory = memory.max(measured.memory);
                let ratio = measured.time.as_secs_f64() / raw.as_secs_f64();
                table.row(&what, ms(measured.time), None);
                over_ssh = over_ssh.or(Some((measured.time, measured.said)));
                table.row(&format!("… against raw ssh, {transport}"), (ratio, "×"), Some(RATIO));
                table.row(
                    &format!("round trips of a satisfied task, {transport}"),
                    (measured.satisfied.round_trips, ""),
                    Some(1.0),
                );
                table.row(
                    &format!("round trips of a changing task, {transport}"),
                    (measured.changing.round_trips, ""),
                    Some(2.0),
                );
                table.row(
                    &format!("bytes to the host for a satisfied task, {transport}"),
                    (measured.satisfied.sent, "B"),
                    None,
                );
                table.row(&format!("bytes back, {transport}"), (measured.satisfied.received, "B"), None);
            }
            Err(why) => table.failed(&what, &why),
        }
    }
    let version = best(|| bench.timed(&["--version"]).0);
    table.row("`--version`", ms(version), Some(START));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rotation = root.join("playbooks/rotate-db-password.yml").display().to_string();
    let staging = root.join("inventory/staging").display().to_string();
    let syntax = best(|| bench.timed(&[&rotation, "-i", &staging, "--syntax-check"]).0);
    table.row("`--syntax-check` of the rotation", ms(syntax), Some(START));
    let many = bench.many_tasks();
    let lint = best(|| {
        let (time, rss) = bench.timed(&["lint", &many]);
        memory = memory.max(rss);
        time
    });
    table.row(&format!("`lint` of {LINT_TASKS} tasks"), ms(lint), Some(LINT));
    table.row("peak memory of all these", (memory, "MiB"), Some(MEMORY));
    let [none, many] = [1, SECRETS].map(|secrets| {
        let play = bench.chatty(secrets);
        best(|| bench.timed(&[&play]).0)
    });
    table.row("a run that prints 1 MiB, 1 secret", ms(none), None);
    table.row(&format!("… {SECRETS} secrets to be hidden in it"), ms(many), None);
    let [(awkward, _), (learning, mib)] = [hiding::AWKWARD, hiding::PLAIN].map(|letters| {
        let costs: Vec<hiding::Cost> = (0..RUNS).map(|_| hiding::cost(SECRETS, letters)).collect();
        let least = |cost: fn(&hiding::Cost) -> Duration| costs.iter().map(cost).min().unwrap_or_default();
        (least(|c| c.learning), least(|c| c.mib))
    });
    table.row(&format!("learning {SECRETS} secrets with `+/=$-` in them"), ms(awkward), None);
    table.row(&format!("learning {SECRETS} secrets as they are generated"), ms(learning), None);
    table.row(&format!("hiding {SECRETS} secrets in 1 MiB of output"), ms(mib), None);
    if let Some((time, said)) = over_ssh {
        let hiding = learning + mib.mul_f64(said);
        let share = hiding.as_secs_f64() / (time + hiding).as_secs_f64() * 100.0;
        let what = format!(
            "both as a share of a run of the {TASKS} tasks over ssh, at `-vvv` ({:.0} KiB)",
            said * 1024.0
        );
        table.row(&what, (share, "%"), Some(HIDING));
    }
    match table.print() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn best(mut run: impl FnMut() -> Duration) -> Duration {
    (0..RUNS).map(|_| run()).min().unwrap_or_default()
}

fn ms(time: Duration) -> (f64, &'static str) {
    (time.as_secs_f64() * 1e3, "ms")
}

/// What one task costs on average.
struct Cost {
    round_trips: f64,
    sent: f64,
    received: f64,
}

struct Measured {
    time: Duration,
    /// MiB.
    memory: f64,
    /// MiB of output at `-vvv`.
    said: f64,
    satisfied: Cost,
    changing: Cost,
}

struct Bench {
    sshd: Sshd,
    play: PathBuf,
}

impl Bench {
    fn new() -> Bench {
        let sshd = Sshd::start();
        let play = sshd.path("play.yml");
        let mut text = String::from("- hosts: box\n  gather_facts: false\n  tasks:\n");
        for n in 0..TASKS {
            let path = edited(&sshd, n);
            text += &format!("    - ansible.builtin.lineinfile: {{path: {path}, line: setting {n} = on}}\n");
        }
        fs::write(&play, text).expect("a playbook");
        let bench = Bench { sshd, play };
        bench.write(|n| format!("a line\nsetting {n} = on\n"));
        bench
    }

    /// What is in the file of each task. A file a task: of one file for all, the first task's
    /// answer would be remembered for the others.
    fn write(&self, text: impl Fn(usize) -> String) {
        for n in 0..TASKS {
            fs::write(edited(&self.sshd, n), text(n)).expect("a file");
        }
    }

    /// What is hard to beat: one connection, one shell, and only the questions.
    fn raw(&self) -> Duration {
        let grep = |n| format!("grep -qxF 'setting {n} = on' {} || exit 1\n", edited(&self.sshd, n));
        let script: String = (0..TASKS).map(grep).collect();
        let since = Instant::now();
        let mut ssh = Command::new("ssh")
            .args(self.sshd.options())
            .args(["-p", &self.sshd.port.to_string(), "127.0.0.1", "sh -s"])
            .stdin(Stdio::piped())
            .spawn()
            .expect("ssh starts");
        ssh.stdin.take().expect("piped").write_all(script.as_bytes()).expect("written");
        assert!(ssh.wait().expect("it ends").success(), "the raw greps");
        since.elapsed()
    }

    fn transport(&self, transport: &str) -> Result<Measured, String> {
        let inventory = self.sshd.path(&format!("{transport}.yml"));
        let options = self.sshd.options().join(" ");
        let text = format!(
            "all:\n  hosts:\n    box:\n      ansible_connection: {transport}\n      ansible_host: 127.0.0.1\n      \
             ansible_port: {}\n      ansible_ssh_private_key_file: {}\n      ansible_ssh_common_args: {options}\n",
            self.sshd.port,
            self.sshd.path("user_key").display(),
        );
        fs::write(&inventory, text).expect("an inventory");
        let play = |more: &[&str]| {
            let mut command = self.program();
            command.arg(&self.play).arg("-i").arg(&inventory).args(more);
            command
        };
        let counted = |changed: usize| -> Result<Cost, String> {
            let ran = play(&["--output", "json"]).output().expect("it runs");
            let events: Vec<serde_json::Value> = String::from_utf8_lossy(&ran.stdout)
                .lines()
                .map(|line| serde_json::from_str(line).expect("an event a line"))
                .collect();
            let named = |name: &str| events.iter().find(|event| event["event"] == name);
            let hosts = named("recap").map(|recap| &recap["hosts"][0]);
            if !ran.status.success() || hosts.is_none_or(|host| host["changed"] != changed) {
                let said = [ran.stdout, ran.stderr].concat();
                return Err(String::from_utf8_lossy(&said).chars().take(2000).collect());
            }
            let traffic = named("traffic").ok_or("nothing was said about traffic")?;
            let average = |field: &str| traffic[field].as_f64().unwrap_or(f64::INFINITY) / TASKS as f64;
            Ok(Cost {
                round_trips: average("round_trips"),
                sent: average("sent"),
                received: average("received"),
            })
        };
        self.write(|_| "a line\n".into());
        let changing = counted(TASKS);
        self.write(|n| format!("a line\nsetting {n} = on\n"));
        let changing = changing?;
        let satisfied = counted(0)?;
        let mut memory = 0.0_f64;
        let time = best(|| {
            let (time, rss) = timed(play(&[]));
            memory = memory.max(rss);
            time
        });
        let said = play(&["-vvv"]).output().expect("it runs");
        let said = (said.stdout.len() + said.stderr.len()) as f64 / (1024.0 * 1024.0);
        Ok(Measured { time, memory, said, satisfied, changing })
    }

    fn program(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seqn-play"));
        command.current_dir(self.sshd.dir.path()).env("HOME", self.sshd.dir.path());
        command
    }

    fn timed(&self, args: &[&str]) -> (Duration, f64) {
        let mut command = self.program();
        command.args(args);
        timed(command)
    }

    /// A playbook that knows so many secrets and prints 1 MiB without any of them.
    fn chatty(&self, secrets: usize) -> String {
        let mut text = String::from(
            "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n    - ansible.builtin.set_fact:\n        many:\n",
        );
        for n in 0..secrets {
            text += &format!("          - hX{n:04}qWz{:x}Kd\n", n.wrapping_mul(2_654_435_761));
        }
        text +=
            "      no_log: true\n    - ansible.builtin.debug:\n        msg: \"{% for n in range(16384) %}";
        text += "changed: [vps] => /srv/seqn-auth/.env is now 0600 and has 1834 b {% endfor %}\"\n";
        let path = self.sshd.path(&format!("chatty.{secrets}.yml"));
        fs::write(&path, text).expect("a playbook");
        path.display().to_string()
    }

    /// A playbook of tasks of all sorts, as lint would meet them.
    fn many_tasks(&self) -> String {
        let sorts = [
            "      ansible.builtin.lineinfile:\n        path: \"{{ base }}/etc/app.conf\"\n        regexp: ^level=\n        line: level={{ level | default('warn') }}\n",
            "      ansible.builtin.copy:\n        dest: /srv/app/motd\n        content: \"{{ inventory_hostname | upper }}\"\n        mode: \"0644\"\n      notify: tell\n",
            "      ansible.builtin.command: systemctl status app\n      register: status\n      changed_when: false\n      failed_when: status.rc not in [0, 3]\n",
            "      seqn.play.dotenv:\n        path: /srv/app/.env\n        key: LOG_LEVEL\n        value: \"{{ level }}\"\n      when: level is defined and level != 'debug'\n",
            "      ansible.builtin.uri:\n        url: http://127.0.0.1:8080/healthz\n      register: health\n      until: health.status == 200\n      retries: 5\n",
        ];
        let mut text = String::from(
            "- hosts: all\n  vars: {base: /srv/app, level: info}\n  handlers:\n    - name: tell\n      ansible.builtin.debug: {msg: told}\n  tasks:\n",
        );
        for n in 0..LINT_TASKS {
            text += &format!("    - name: Task {n}\n{}", sorts[n % sorts.len()]);
        }
        let path = self.sshd.path("many.yml");
        fs::write(&path, text).expect("a playbook");
        path.display().to_string()
    }
}

/// The file of one task.
fn edited(sshd: &Sshd, n: usize) -> String {
    sshd.path(&format!("edited.{n}")).display().to_string()
}

/// How long a command takes, and its peak memory in MiB.
#[allow(clippy::zombie_processes, reason = "wait4 is the wait")]
fn timed(mut command: Command) -> (Duration, f64) {
    let since = Instant::now();
    let child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut status = 0;
    // SAFETY: our own child, waited for nowhere else; both out-parameters live here.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let waited = unsafe { libc::wait4(child.id() as i32, &mut status, 0, &mut usage) };
    let time = since.elapsed();
    assert!(waited > 0 && status == 0, "{command:?} ended with status {status}");
    (time, usage.ru_maxrss as f64 / 1024.0)
}

#[derive(Default)]
struct Table {
    rows: Vec<[String; 4]>,
    failed: bool,
}

impl Table {
    fn row(&mut self, what: &str, (value, unit): (f64, &str), limit: Option<f64>) {
        let shown = |value: f64| format!("{value:.2} {unit}").trim_end().to_string();
        let kept = limit.is_none_or(|limit| value <= limit);
        self.failed |= !kept;
        let verdict = if limit.is_none() {
            ""
        } else if kept {
            "kept"
        } else {
            "NOT KEPT"
        };
        let limit = limit.map(|limit| format!("≤ {limit} {unit}").trim_end().to_string());
        self.rows.push([what.into(), shown(value), limit.unwrap_or_default(), verdict.into()]);
    }

    fn failed(&mut self, what: &str, why: &str) {
        self.failed = true;
        self.rows.push([what.into(), "failed".into(), String::new(), "NOT KEPT".into()]);
        writeln!(io::stderr(), "{what}: {why}").ok();
    }

    /// Whether all limits were kept.
    fn print(&self) -> bool {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut text = format!(
            "On {cores} cores, everything on this machine, best of {RUNS} runs.\n\n\
             | what | measured | limit | |\n| --- | ---: | ---: | --- |\n"
        );
        for row in &self.rows {
            text += &format!("| {} |\n", row.join(" | "));
        }
        io::stdout().write_all(text.as_bytes()).ok();
        !self.failed
    }
}
