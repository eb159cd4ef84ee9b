//! A bench for modules: this machine over the local transport, and a small engine that applies a
//! Plan.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::module::context::{Services, TemplateOptions};
use crate::module::{CheckAnswer, Failure, Plan, PlanCx, registry};
use crate::remote::{Connections, Target};
use crate::source::{Map, Text, Val, args};

/// A folder of its own, a host, and what was asked of it.
pub struct Bench {
    pub dir: tempfile::TempDir,
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
    /// Of the planning.
    pub round_trips: u64,
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
        Bench { dir: tempfile::tempdir().unwrap(), check: false, environment: Vec::new() }
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
        // New ones each time: tests also change files behind a host's back.
        let connections = Connections::new();
        let target = connections.operator().await.unwrap();
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
        let before = round_trips(&connections).await;
        let mut outcome = Outcome {
            changed: false,
            skipped: false,
            failed: None,
            result: Map::new(),
            warnings: Vec::new(),
            round_trips: 0,
            labels: Vec::new(),
        };
        let plan = (entry.plan)(&given, &cx).await;
        outcome.round_trips = round_trips(&connections).await - before;
        let ended = match plan {
            Ok(plan) => self.apply(plan, &target, &mut outcome).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = ended {
            outcome.failed = Some(failure.message);
            outcome.result.extend(failure.result);
        }
        connections.close().await;
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

async fn round_trips(connections: &Connections) -> u64 {
    connections.traffic().await.values().map(|t| t.round_trips).sum()
}

struct NoServices;

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
    fn never_secret(&self, _: &str) {}
}
