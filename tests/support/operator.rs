//! An operator who rotates credentials, and a staging VPS as its files and its services show it.

#![allow(dead_code)] // each test uses a part

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The operator's project, and all that was said to the operator.
pub struct Operator {
    pub project: PathBuf,
    /// The operator's machine: home, temporary files.
    pub machine: PathBuf,
    pub said: String,
    /// The VPS that is looked at.
    pub vps: Vps,
}

impl Deref for Operator {
    type Target = Vps;
    fn deref(&self) -> &Vps {
        &self.vps
    }
}

impl DerefMut for Operator {
    fn deref_mut(&mut self) -> &mut Vps {
        &mut self.vps
    }
}

pub struct Ended {
    pub code: i32,
    pub said: String,
}

impl Ended {
    #[track_caller]
    pub fn code(self, code: i32) -> Ended {
        assert_eq!(self.code, code, "{}", self.said);
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Ended {
        assert!(self.said.contains(text), "{text:?} is missing in\n{}", self.said);
        self
    }

    /// The task that failed last.
    #[track_caller]
    pub fn fails_at(self, task: &str) -> Ended {
        let at = ["\nfatal: [", "\nfailed: ["].iter().filter_map(|word| self.said.rfind(word)).max();
        let before = &self.said[..at.unwrap_or_else(|| panic!("nothing failed\n{}", self.said))];
        let last = before.rsplit("TASK [").next().and_then(|rest| rest.split(']').next());
        assert_eq!(last, Some(task), "{}", self.said);
        self
    }

    /// The one host's line of the recap.
    #[track_caller]
    pub fn recaps(self, numbers: &str) -> Ended {
        let recap = crate::support::recap_of(&self.said);
        assert!(recap.contains(numbers), "recap is {recap:?}\n{}", self.said);
        self
    }

    /// The tasks that said `changed`.
    pub fn changed(&self) -> Vec<&str> {
        let mut task = "";
        let mut changed = Vec::new();
        for line in self.said.lines() {
            if let Some(name) = line.strip_prefix("TASK [") {
                task = name.split(']').next().unwrap_or_default();
            }
            if line.starts_with("changed:") && changed.last() != Some(&task) {
                changed.push(task);
            }
        }
        changed
    }
}

impl Operator {
    pub fn new(project: PathBuf, machine: PathBuf, vps: Vps) -> Operator {
        Operator { project, machine, said: String::new(), vps }
    }

    pub fn run(&mut self, line: &str) -> Ended {
        self.run_until(line, "")
    }

    /// Killed at a place of a Step (`5:after-effect:kill`), unless it is empty.
    pub fn run_until(&mut self, line: &str, fault: &str) -> Ended {
        let ran = self
            .command(line)
            .envs((!fault.is_empty()).then_some(("SEQN_PLAY_FAULT", fault)))
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
        self.said.push_str(&said);
        Ended { code: ran.status.code().unwrap_or(-1), said }
    }

    /// Does something as soon as a task has begun.
    pub fn run_and_meanwhile(&mut self, line: &str, task: &str, act: impl FnOnce()) -> Ended {
        let mut child =
            self.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let mut stderr = child.stderr.take().expect("a pipe");
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).expect("text");
            text
        });
        let (mut said, mut act) = (String::new(), Some(act));
        for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
            let line = line.expect("text");
            if line.starts_with(task)
                && let Some(act) = act.take()
            {
                act();
            }
            said.push_str(&line);
            said.push('\n');
        }
        said.push_str(&errors.join().expect("no panic"));
        self.said.push_str(&said);
        assert!(act.is_none(), "{task} never began\n{said}");
        Ended { code: child.wait().expect("it ends").code().unwrap_or(-1), said }
    }

    /// A new identity of age on the operator's machine: its file, and its public key.
    pub fn keygen(&mut self, file: &str) -> (String, String) {
        let path = self.machine.join(file).display().to_string();
        let made = self.run(&format!("secret keygen {path}")).code(0);
        let public = made.said.split("public key: ").nth(1).expect("a public key").trim().to_string();
        (path, public)
    }

    /// Nothing of what is known of its credentials stands in what was said to the operator.
    #[track_caller]
    pub fn was_told_no_secret(&self) {
        for secret in &self.vps.secrets {
            assert!(!self.said.contains(secret.as_str()), "a credential was told: {secret}");
        }
    }

    /// The program, ready to be started.
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seqn-play"));
        command
            .args(line.split_whitespace())
            .current_dir(&self.project)
            .env("HOME", self.machine.join("home"))
            .env("TMPDIR", self.machine.join("tmp"))
            .env("NO_COLOR", "1")
            .env("SEQN_AGE_IDENTITY", crate::support::identity())
            .stdin(Stdio::null());
        command
    }

    /// A file of variables with a given value, as `seqn-play secret edit` would keep it.
    pub fn given(&mut self, variable: &str, value: &str) -> String {
        let path = self.project.join("given.yml");
        fs::write(&path, format!("{variable}: {value}\n")).expect("a file");
        self.secrets.push(value.to_string());
        format!("-e @{}", path.display())
    }
}

/// A VPS as `staging up` told of it.
pub struct Vps {
    raised: Value,
    /// Credentials that were seen there; nobody may be told them.
    pub secrets: Vec<String>,
}

impl Vps {
    pub fn new(raised: Value) -> Vps {
        Vps { raised, secrets: Vec::new() }
    }

    pub fn raised(&self, key: &str) -> &str {
        self.raised[key].as_str().unwrap_or_else(|| panic!("{key} is missing"))
    }

    /// A file of the Compose project; both kinds of VPS have it at the same path here.
    pub fn file(&self, path: &str) -> PathBuf {
        Path::new(self.raised("project_dir")).join(path)
    }

    /// A variable of a `.env` file of the VPS; it must never be told.
    pub fn env(&mut self, file: &str, key: &str) -> String {
        let text = fs::read_to_string(self.file(file)).expect(file);
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).expect(key);
        let value = line.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']).to_string();
        if value.len() > 20 && !value.starts_with("age1") {
            self.secrets.push(value.clone());
        }
        value
    }

    pub fn api(&self, path: &str) -> String {
        format!("{}{path}", self.raised("api_url"))
    }

    pub fn authentik(&self, path: &str) -> String {
        format!("{}{path}", self.raised("authentik_url"))
    }

    /// Whether the token endpoint takes this client secret.
    pub fn client_secret_is_taken(&self, secret: &str) -> bool {
        let body = format!("grant_type=authorization_code&client_id=silver-auth&client_secret={secret}");
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        let answer = http("POST", &self.authentik("/application/o/token/"), &form, &body);
        match answer.json()["error"].as_str() {
            Some("invalid_grant") => true,
            Some("invalid_client") => false,
            _ => panic!("{}", answer.text),
        }
    }

    pub fn status(&self, url: &str, bearer: &str) -> u16 {
        http("GET", url, &[("Authorization", &format!("Bearer {bearer}"))], "").status
    }

    /// The cookie of a new session.
    pub fn sign_in(&self) -> String {
        let (user, password) = (self.raised("login_user"), self.raised("login_password"));
        let body = format!("user={}&password={password}", user.replace('@', "%40"));
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        let answer = http("POST", &self.api("/login"), &form, &body);
        assert_eq!(answer.status, 200, "{}", answer.text);
        let cookie = answer.header("set-cookie").expect("a cookie");
        cookie.split(';').next().unwrap_or_default().to_string()
    }

    pub fn is_signed_in(&self, cookie: &str) -> bool {
        http("GET", &self.api("/v1/me"), &[("Cookie", cookie)], "").status == 200
    }

    /// How many sessions anybody ever had.
    pub fn sessions(&mut self) -> usize {
        let password = self.env(".env", "SILVER_POSTGRES_PASSWORD");
        let told = self.query("silver", &password, "SELECT count(*) FROM app_session");
        String::from_utf8_lossy(&told.stdout).trim().parse().expect("a number")
    }

    /// Whether the database server takes this password of its role, over the network.
    pub fn password_is_taken(&self, database: &str, password: &str) -> bool {
        let tried = self.query(database, password, "SELECT 1");
        let why = String::from_utf8_lossy(&tried.stderr);
        assert!(tried.status.success() || why.contains("password authentication failed"), "{why}");
        tried.status.success()
    }

    /// A query as the database's role, over the network.
    fn query(&self, database: &str, password: &str, sql: &str) -> Output {
        let port = self.raised[format!("{database}_pg_port")].as_u64().expect("a port").to_string();
        Command::new("psql")
            .args(["-h", "127.0.0.1", "-p", &port, "-U", database, "-d", database, "-tAc", sql])
            .env("PGPASSWORD", password)
            .output()
            .expect("psql runs")
    }
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")))?;
        Some(line.split_once(':')?.1.trim())
    }
}

/// One request over a connection of its own.
pub fn http(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let rest = url.strip_prefix("http://").expect("plain HTTP");
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut request = format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    let mut stream = TcpStream::connect(host).unwrap_or_else(|e| panic!("{url}: {e}"));
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, text) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
    Answer { status, head: head.into(), text: text.into() }
}
