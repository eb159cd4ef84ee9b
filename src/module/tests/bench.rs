//! A host for tests of modules: this machine's files and `sh`, and a small engine that applies a
//! Plan.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use crate::module::context::{Services, TemplateOptions};
use crate::module::{CheckAnswer, Failure, Plan, PlanCx, registry};
use crate::remote::*;
use crate::source::{Map, Text, Val, args};

/// A folder of its own, a host, and what was asked of it.
pub struct Bench {
    pub dir: tempfile::TempDir,
    host: Arc<LocalFiles>,
    pub check: bool,
    pub environment: Vec<(String, Text)>,
}

/// What a task came to.
#[derive(Debug)]
pub struct Outcome {
    pub changed: bool,
    pub skipped: bool,
    pub failed: Option<String>,
    pub result: Map,
    pub warnings: Vec<String>,
    pub observations: usize,
    pub labels: Vec<String>,
}

impl Outcome {
    pub fn get(&self, key: &str) -> Val {
        self.result.get(key).cloned().unwrap_or(Val::Null)
    }

    pub fn text(&self, key: &str) -> String {
        self.get(key).as_str().unwrap_or_default().to_string()
    }

    #[track_caller]
    pub fn is(&self, changed: bool) -> &Outcome {
        assert_eq!(self.failed, None);
        assert_eq!((self.changed, self.skipped), (changed, false), "{:?}", self.result);
        self
    }

    #[track_caller]
    pub fn failure(&self) -> &str {
        self.failed.as_deref().unwrap_or_else(|| panic!("it did not fail: {:?}", self.result))
    }
}

impl Bench {
    pub fn new() -> Bench {
        Bench {
            dir: tempfile::tempdir().unwrap(),
            host: Arc::default(),
            check: false,
            environment: Vec::new(),
        }
    }

    pub fn checking() -> Bench {
        Bench { check: true, ..Bench::new() }
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_string()
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn mode(&self, name: &str) -> u32 {
        std::fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o7777
    }

    pub fn chmod(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Runs a module with `path`, `src`, `dest` and the like as they are given.
    pub async fn run(&self, module: &str, given: &[(&'static str, Val)]) -> Outcome {
        let entry = registry::find(module).unwrap();
        let given = args::args(given.iter().cloned());
        let target = Target(self.host.clone());
        let operator = target.clone();
        let search = [self.dir.path().to_path_buf()];
        let cx = PlanCx {
            target: &target,
            operator: &operator,
            check: self.check,
            diff: false,
            search: &search,
            playbook_dir: self.dir.path(),
            environment: &self.environment,
            instance: "test",
            services: &NoServices,
        };
        self.host.asked.store(0, Ordering::SeqCst);
        let mut outcome = Outcome {
            changed: false,
            skipped: false,
            failed: None,
            result: Map::new(),
            warnings: Vec::new(),
            observations: 0,
            labels: Vec::new(),
        };
        let plan = (entry.plan)(&given, &cx).await;
        outcome.observations = self.host.asked.load(Ordering::SeqCst);
        let ended = match plan {
            Ok(plan) => self.apply(plan, &target, &mut outcome).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = ended {
            outcome.failed = Some(failure.message);
            outcome.result.extend(failure.result);
        }
        outcome
    }

    async fn apply(&self, plan: Plan, target: &Target, outcome: &mut Outcome) -> Result<(), Failure> {
        let mut plan = plan;
        let mut outputs = Vec::new();
        loop {
            outcome.warnings.append(&mut plan.warnings);
            outcome.result.extend(plan.result);
            outcome.labels.extend(plan.steps.iter().map(|s| s.label.clone()));
            if self.check {
                match plan.check {
                    CheckAnswer::Steps => outcome.changed = !plan.steps.is_empty(),
                    CheckAnswer::Skip(values) => {
                        outcome.skipped = true;
                        outcome.result.extend(values);
                    }
                    CheckAnswer::Unknown(why) => panic!("unknown: {why}"),
                }
                return Ok(());
            }
            let changes = !plan.steps.is_empty();
            for step in plan.steps {
                outputs.push(target.apply(&step.effect).await?);
            }
            outcome.changed = plan.changed.unwrap_or(outcome.changed || changes);
            match plan.finish {
                Some(finish) => plan = finish(&outputs)?,
                None => return Ok(()),
            }
        }
    }
}

struct NoServices;

#[async_trait::async_trait]
impl Services for NoServices {
    fn render_file(&self, source: &str, _: &Path, _: &TemplateOptions) -> Result<Text, Failure> {
        Ok(Text::new(source.replace("{{ name }}", "world")))
    }
    fn variable(&self, name: &str) -> Option<Val> {
        (name == "inventory_hostname").then(|| Val::from("web1"))
    }
    fn open_encrypted(&self, bytes: &[u8]) -> Result<(Vec<u8>, bool), Failure> {
        Ok(match bytes.strip_prefix(b"$ANSIBLE_VAULT;") {
            Some(rest) => (rest.to_vec(), true),
            None => (bytes.to_vec(), false),
        })
    }
    fn age_identities(&self) -> Vec<Text> {
        Vec::new()
    }
    fn keep_secret(&self, _: &Text) {}
}

/// This machine, by the standard library.
#[derive(Default)]
struct LocalFiles {
    asked: AtomicUsize,
    names: Mutex<Option<(String, String)>>,
}

fn refused(path: &str, e: std::io::Error) -> RemoteError {
    RemoteError { kind: RemoteErrorKind::Refused, message: format!("{path}: {e}"), help: None }
}

fn refusal(message: String) -> RemoteError {
    RemoteError { kind: RemoteErrorKind::Refused, message, help: None }
}

impl LocalFiles {
    fn name(&self, file: &str, id: u32) -> String {
        let mut names = self.names.lock().unwrap();
        let read = |f| std::fs::read_to_string(f).unwrap_or_default();
        let (passwd, group) = names.get_or_insert_with(|| (read("/etc/passwd"), read("/etc/group")));
        let text = if file == "passwd" { passwd } else { group };
        let entry = text.lines().find(|l| l.split(':').nth(2) == Some(&id.to_string()));
        entry.and_then(|l| l.split(':').next()).unwrap_or_default().to_string()
    }

    fn stat(&self, path: &str, follow: bool, checksum: Option<Checksum>) -> Option<Stat> {
        let meta = if follow { std::fs::metadata(path) } else { std::fs::symlink_metadata(path) }.ok()?;
        let kind = match meta.file_type() {
            t if t.is_symlink() => FileKind::Link,
            t if t.is_dir() => FileKind::Directory,
            t if t.is_fifo() => FileKind::Fifo,
            t if t.is_socket() => FileKind::Socket,
            t if t.is_block_device() => FileKind::Block,
            t if t.is_char_device() => FileKind::Char,
            _ => FileKind::File,
        };
        let itself = std::fs::symlink_metadata(path).ok()?;
        let real = std::fs::canonicalize(path).map(|p| p.display().to_string()).unwrap_or_default();
        let sum = checksum.filter(|_| kind == FileKind::File).and_then(|c| {
            let program = match c {
                Checksum::Md5 => "md5sum",
                Checksum::Sha1 => "sha1sum",
                Checksum::Sha224 => "sha224sum",
                Checksum::Sha256 => "sha256sum",
                Checksum::Sha384 => "sha384sum",
                Checksum::Sha512 => "sha512sum",
            };
            let said = std::process::Command::new(program).arg(path).output().ok()?;
            String::from_utf8(said.stdout)
                .ok()?
                .split(' ')
                .next()
                .map(|s| s.trim_start_matches('\\').to_string())
        });
        Some(Stat {
            path: path.into(),
            kind,
            mode: meta.mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
            owner: self.name("passwd", meta.uid()),
            group: self.name("group", meta.gid()),
            size: meta.size(),
            atime: meta.atime() as f64,
            mtime: meta.mtime() as f64,
            ctime: meta.ctime() as f64,
            inode: meta.ino(),
            device: meta.dev(),
            links: meta.nlink(),
            link_text: std::fs::read_link(path).map(|p| p.display().to_string()).unwrap_or_default(),
            link_target: if itself.is_symlink() { real } else { String::new() },
            checksum: sum,
            readable: std::fs::File::open(path).is_ok(),
            writable: true,
            executable: meta.mode() & 0o111 != 0,
        })
    }

    fn list(&self, path: &Path, recurse: bool, out: &mut Vec<Stat>) {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        for entry in entries {
            out.extend(self.stat(entry.to_str().unwrap(), false, None));
            if recurse && entry.is_dir() && !entry.is_symlink() {
                self.list(&entry, true, out);
            }
        }
    }

    async fn command(&self, command: &Command) -> Result<Output, RemoteError> {
        use tokio::io::AsyncWriteExt;
        let argv: Vec<String> = match &command.program {
            Program::Argv(argv) => argv.iter().map(|t| t.as_str().to_string()).collect(),
            Program::Shell { script, executable } => {
                vec![executable.clone(), "-c".into(), script.as_str().into()]
            }
        };
        let mut process = tokio::process::Command::new(&argv[0]);
        process.args(&argv[1..]).stdin(std::process::Stdio::piped());
        process.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        if let Some(dir) = &command.chdir {
            process.current_dir(dir);
        }
        for (name, value) in &command.env {
            process.env(name, value.as_str());
        }
        let mut child = match process.spawn() {
            Ok(child) => child,
            Err(e) => {
                let stderr = format!("{}: not found ({e})", argv[0]).into_bytes();
                return Ok(Output { status: 127, stderr, ..Output::default() });
            }
        };
        let mut stdin = child.stdin.take().unwrap();
        let text = command.stdin.as_ref().map(|t| t.as_str().to_string()).unwrap_or_default();
        let _ = stdin.write_all(text.as_bytes()).await;
        drop(stdin);
        let said = child.wait_with_output().await.map_err(|e| refused(&argv[0], e))?;
        let status = said.status.code().unwrap_or(128);
        Ok(Output { status, stdout: said.stdout, stderr: said.stderr, ..Output::default() })
    }

    fn set(&self, path: &str, a: &Attributes) -> Result<(), RemoteError> {
        let run = |program: &str, what: &str| {
            let said = std::process::Command::new(program).args([what, "--", path]).output().unwrap();
            match said.status.success() {
                true => Ok(()),
                false => Err(refusal(String::from_utf8_lossy(&said.stderr).into_owned())),
            }
        };
        a.mode.as_ref().map_or(Ok(()), |m| run("chmod", m))?;
        a.owner.as_ref().map_or(Ok(()), |o| run("chown", o))?;
        a.group.as_ref().map_or(Ok(()), |g| run("chgrp", g))?;
        if a.mtime.is_some() || a.atime.is_some() {
            let file = std::fs::File::open(path).map_err(|e| refused(path, e))?;
            let at = |t: f64| UNIX_EPOCH + std::time::Duration::from_secs_f64(t);
            let mut times = std::fs::FileTimes::new();
            times = a.mtime.map_or(times, |t| times.set_modified(at(t)));
            times = a.atime.map_or(times, |t| times.set_accessed(at(t)));
            file.set_times(times).map_err(|e| refused(path, e))?;
        }
        Ok(())
    }

    fn write(&self, effect: &Effect) -> Result<Output, RemoteError> {
        let Effect::Write { path, content, attributes, expect, validate, backup } = effect else {
            unreachable!()
        };
        let before = self.stat(path, false, Some(Checksum::Sha256));
        let found = before.as_ref().and_then(|s| s.checksum.clone());
        let conflict = match expect {
            Expect::Anything => false,
            Expect::Absent => before.is_some(),
            Expect::Sha256(hash) => found.as_ref() != Some(hash),
        };
        if conflict {
            let message = format!("{path} is not as expected");
            return Err(RemoteError { kind: RemoteErrorKind::Conflict, message, help: None });
        }
        let bytes = match content {
            Content::Text(t) => t.as_bytes().to_vec(),
            Content::Bytes(b) => b.to_vec(),
            Content::Operator { path, .. } => std::fs::read(path).unwrap(),
            Content::Host { path } => std::fs::read(path).unwrap(),
        };
        let temporary = format!("{path}.tmp");
        std::fs::write(&temporary, bytes).map_err(|e| refused(path, e))?;
        if let Some(validate) = validate {
            let script = validate.replace("%s", &temporary);
            let said = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            if !said.status.success() {
                std::fs::remove_file(&temporary).unwrap();
                let rc = said.status.code().unwrap_or(-1);
                let error = String::from_utf8_lossy(&said.stderr).into_owned();
                return Err(refusal(format!("failed to validate: rc:{rc} error:{error}")));
            }
        }
        let mut stdout = Vec::new();
        if *backup && before.is_some() {
            std::fs::copy(path, format!("{path}.1~")).unwrap();
            stdout = format!("{path}.1~").into_bytes();
        }
        if let Some(before) = before.filter(|b| b.kind == FileKind::File) {
            std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(before.mode)).unwrap();
        }
        self.set(&temporary, attributes)?;
        std::fs::rename(&temporary, path).map_err(|e| refused(path, e))?;
        Ok(Output { stdout, ..Output::default() })
    }
}

#[async_trait::async_trait]
impl Host for LocalFiles {
    async fn observe(&self, question: Observation) -> Result<Answer, RemoteError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(match question {
            Observation::Stat { path, follow, checksum } => {
                Answer::Stat(self.stat(&path, follow, checksum).map(Arc::new))
            }
            Observation::Read { path, max } => {
                let stat = self.stat(&path, true, None);
                if stat.as_ref().is_some_and(|s| s.size > max) {
                    let message = format!("{path} is larger than {max} bytes");
                    return Err(RemoteError { kind: RemoteErrorKind::Limit, message, help: None });
                }
                let content = match stat.as_ref().map(|s| s.kind) {
                    Some(FileKind::Directory) | None => Vec::new(),
                    Some(_) => std::fs::read(&path).map_err(|e| refused(&path, e))?,
                };
                Answer::Read(Arc::new(FileRead { stat, content }))
            }
            Observation::List { path, recurse } => {
                let mut out = Vec::new();
                self.list(Path::new(&path), recurse, &mut out);
                Answer::List(Arc::new(out))
            }
            Observation::Query(c) | Observation::Probe(c) => {
                Answer::Output(Arc::new(self.command(&c).await?))
            }
        })
    }

    async fn apply(&self, effect: &Effect) -> Result<Output, RemoteError> {
        let (path, output) = match effect {
            Effect::Write { path, .. } => (path, self.write(effect)?),
            Effect::Attributes { path, attributes, recurse, .. } => {
                if *recurse {
                    let mut below = Vec::new();
                    self.list(Path::new(path), true, &mut below);
                    for entry in below.iter().filter(|e| e.kind != FileKind::Link) {
                        self.set(&entry.path, attributes)?;
                    }
                }
                self.set(path, attributes)?;
                (path, Output::default())
            }
            Effect::Directory { path, attributes } => {
                std::fs::create_dir_all(path).map_err(|e| refused(path, e))?;
                self.set(path, attributes)?;
                (path, Output::default())
            }
            Effect::Link { path, target, hard, force } => {
                if *force && self.stat(path, false, None).is_some_and(|s| s.kind == FileKind::Directory) {
                    std::fs::remove_dir(path).map_err(|e| refused(path, e))?;
                } else if *force {
                    std::fs::remove_file(path).map_err(|e| refused(path, e))?;
                }
                match hard {
                    true => std::fs::hard_link(target, path),
                    false => std::os::unix::fs::symlink(target, path),
                }
                .map_err(|e| refused(path, e))?;
                (path, Output::default())
            }
            Effect::Touch { path, attributes } => {
                let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
                let now = std::time::SystemTime::now();
                let times = std::fs::FileTimes::new().set_modified(now).set_accessed(now);
                file.and_then(|f| f.set_times(times)).map_err(|e| refused(path, e))?;
                self.set(path, attributes)?;
                (path, Output::default())
            }
            Effect::Remove { path, .. } => {
                match self.stat(path, false, None).map(|s| s.kind) {
                    Some(FileKind::Directory) => std::fs::remove_dir_all(path),
                    Some(_) => std::fs::remove_file(path),
                    None => Ok(()),
                }
                .map_err(|e| refused(path, e))?;
                (path, Output::default())
            }
            Effect::Rename { from, path } => {
                std::fs::rename(from, path).map_err(|e| refused(path, e))?;
                (path, Output::default())
            }
            Effect::Run(command) => return self.command(command).await,
            Effect::Http(_) | Effect::Fetch { .. } => return Err(refusal("Target::apply does this".into())),
        };
        Ok(Output { stat: self.stat(path, false, None).map(Arc::new), ..output })
    }

    async fn download(
        &self,
        path: &str,
    ) -> Result<Box<dyn tokio::io::AsyncRead + Send + Unpin>, RemoteError> {
        Ok(Box::new(tokio::fs::File::open(path).await.map_err(|e| refused(path, e))?))
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Stream>, RemoteError> {
        let stream = tokio::net::TcpStream::connect((host, port)).await;
        Ok(Box::new(stream.map_err(|e| refused(&format!("{host}:{port}"), e))?))
    }

    fn user(&self) -> &str {
        "root"
    }

    fn name(&self) -> &str {
        "web1"
    }
}
