use std::path::Path;

use super::environment::keys_of;
use super::*;
use crate::module::context::{Services, TemplateOptions};
use crate::remote::{
    Answer, FileKind, FileRead, Host, Observation, Program, RemoteError, Stat, Stream, Target,
};
use crate::source::Text;
use crate::source::args::{args as arguments, from_val};

/// A host that answers by what a command line contains, the last rule first.
struct Scripted(Vec<(&'static str, Output)>);

fn output(status: i32, stdout: &str, stderr: &str) -> Output {
    Output { status, stdout: stdout.into(), stderr: stderr.into(), ..Output::default() }
}

fn line(command: &Command) -> String {
    match &command.program {
        Program::Argv(argv) => argv.iter().map(|t| t.to_string()).collect::<Vec<_>>().join(" "),
        Program::Shell { script, .. } => script.to_string(),
    }
}

#[async_trait::async_trait]
impl Host for Scripted {
    async fn observe(&self, question: Observation) -> Result<Answer, RemoteError> {
        Ok(match question {
            Observation::Stat { path, .. } => {
                let kind = match path.as_str() {
                    "/srv/p" => FileKind::Directory,
                    "/srv/p/compose.yaml" => FileKind::File,
                    _ => return Ok(Answer::Stat(None)),
                };
                Answer::Stat(Some(Arc::new(Stat { path, kind, ..Stat::default() })))
            }
            Observation::Read { .. } => {
                Answer::Read(Arc::new(FileRead { stat: None, content: b"API_KEY=x\n".to_vec() }))
            }
            Observation::Query(command) | Observation::Probe(command) => {
                let line = line(&command);
                let found = self.0.iter().rev().find(|(part, _)| line.contains(part));
                Answer::Output(Arc::new(found.map(|(_, o)| o.clone()).unwrap_or_default()))
            }
            Observation::List { .. } => Answer::List(Arc::new(Vec::new())),
        })
    }
    async fn apply(&self, _: &Effect) -> Result<Output, RemoteError> {
        unreachable!("a module applies nothing")
    }
    async fn download(&self, _: &str) -> Result<Box<dyn tokio::io::AsyncRead + Send + Unpin>, RemoteError> {
        Ok(Box::new(tokio::io::empty()))
    }
    async fn feed(&self, _: &str, _: tokio::sync::mpsc::Receiver<Vec<u8>>) -> Result<Output, RemoteError> {
        unreachable!("nothing is fed")
    }

    async fn connect(&self, _: &str, _: u16) -> Result<Box<dyn Stream>, RemoteError> {
        Ok(Box::new(tokio::io::duplex(1).0))
    }
    fn user(&self) -> &str {
        "ops"
    }
    fn name(&self) -> &str {
        "vps"
    }
}

struct Nothing;
impl Services for Nothing {
    fn render_file(&self, source: &str, _: &Path, _: &TemplateOptions) -> Result<Text, Failure> {
        Ok(Text::new(source))
    }
    fn variable(&self, _: &str) -> Option<Val> {
        None
    }
    fn open_encrypted(&self, bytes: &[u8]) -> Result<(Vec<u8>, bool), Failure> {
        Ok((bytes.to_vec(), false))
    }
    fn keep_secret(&self, _: &Text) {}
    fn never_secret(&self, _: &str) {}
    fn age_identities(&self) -> Vec<Text> {
        Vec::new()
    }
}

const VERSION: &str = "{\"version\":\"2.26.1-4\"}";
const API: &str = r#"{"ID":"aaaaaaaaaaaaaaaa","Name":"p-api-1","Service":"api","State":"running","Health":"healthy","ExitCode":0}"#;
const DB: &str = r#"{"ID":"bbbbbbbbbbbbbbbb","Name":"p-db-1","Service":"db","State":"running","Health":"healthy","ExitCode":0}"#;

fn base() -> Vec<(&'static str, Output)> {
    vec![
        ("compose version", output(0, VERSION, "")),
        (" ps ", output(0, &format!("{API}\n{DB}\n"), "")),
        (" images ", output(0, "[]", "")),
    ]
}

fn plan_with(
    rules: Vec<(&'static str, Output)>,
    environment: &[(String, Text)],
    given: &[(&'static str, Val)],
) -> Result<Plan, Failure> {
    let mut all = base();
    all.extend(rules);
    let target = Target(Arc::new(Scripted(all)));
    let given = [("project_src", Val::from("/srv/p"))].into_iter().chain(given.iter().cloned());
    let typed: Args = from_val(&arguments(given)).unwrap();
    DockerComposeV2::validate(&typed).map_err(Failure::new)?;
    let cx = PlanCx {
        target: &target,
        operator: &target,
        check: false,
        diff: false,
        search: &[],
        playbook_dir: Path::new("/"),
        environment,
        instance: "1",
        services: &Nothing,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(DockerComposeV2::plan(typed, &cx))
}

fn plan(rules: Vec<(&'static str, Output)>, given: &[(&'static str, Val)]) -> Result<Plan, Failure> {
    plan_with(rules, &[], given)
}

fn effects(plan: &Plan) -> Vec<String> {
    let effects = plan.steps.iter().filter(|s| !matches!(s.kind, StepKind::Passing));
    effects
        .map(|s| match &s.effect {
            Effect::Run(command) => line(command),
            other => format!("{other:?}"),
        })
        .collect()
}

/// Continues a Plan as the engine would, with these outputs of its Steps.
fn carry_on(mut plan: Plan, parts: &[Vec<Output>]) -> Result<Plan, Failure> {
    let mut outputs = Vec::new();
    for part in parts {
        assert_eq!(plan.steps.len(), part.len(), "steps and outputs");
        outputs.extend(part.iter().cloned());
        let Some(finish) = plan.finish.take() else { return Ok(plan) };
        plan = finish(&outputs)?;
    }
    Ok(plan)
}

const BASE: &str = "docker compose --ansi never --progress plain --project-directory /srv/p";

fn recreate(rules: Vec<(&'static str, Output)>) -> Result<Plan, Failure> {
    let dry = output(
        0,
        "",
        " DRY-RUN MODE -  Container p-api-1  Recreate\n DRY-RUN MODE -  Container p-api-1  Starting\n",
    );
    let rules = [("--dry-run", dry)].into_iter().chain(rules).collect();
    plan(
        rules,
        &[
            ("services", Val::from("api")),
            ("recreate", Val::from("always")),
            ("dependencies", Val::from(false)),
            ("wait", Val::from(true)),
            ("wait_timeout", Val::from(30i64)),
        ],
    )
}

#[test]
fn recreating_names_exactly_the_services_and_is_derived() {
    let plan = recreate(vec![]).unwrap();
    assert_eq!(
        effects(&plan),
        [format!(
            "{BASE} up --detach --no-color --quiet-pull --force-recreate --no-deps --wait --wait-timeout 30 -- api"
        )]
    );
    assert!(matches!(plan.steps[0].kind, StepKind::Derived));
}

#[test]
fn a_recreated_container_must_be_new_and_healthy() {
    let new = API.replace("aaaaaaaaaaaaaaaa", "cccccccccccccccc");
    let done = |ps: &str| {
        vec![output(0, "", " Container p-api-1  Recreate\n"), output(0, ps, ""), output(0, "[]", "")]
    };
    let plan = carry_on(recreate(vec![]).unwrap(), &[done(&format!("{new}\n{DB}"))]).unwrap();
    assert_eq!(plan.result.get("containers").unwrap().as_list().unwrap().len(), 2);
    assert_eq!(plan.result.get("actions").unwrap().as_list().unwrap().len(), 1);

    let log = vec![output(0, "one\npassword authentication failed\n", "")];
    let failure = carry_on(recreate(vec![]).unwrap(), &[done(API), log.clone()]).map(|_| ()).unwrap_err();
    assert!(
        failure.message.starts_with("api was not recreated: its container is still aaaaaaaaaaaa"),
        "{failure}"
    );

    let sick = new.replace("healthy", "unhealthy");
    let failure = carry_on(
        recreate(vec![]).unwrap(),
        &[
            vec![
                output(1, "", " Container p-api-1  Error\ncontainer p-api-1 is unhealthy\n"),
                output(0, &sick, ""),
                output(0, "[]", ""),
            ],
            log,
        ],
    )
    .map(|_| ())
    .unwrap_err();
    for part in [
        "api: running (unhealthy) is not healthy",
        "ended with status 1",
        "Now in /srv/p: api: running (unhealthy)",
        "The end of the log of api:\n    one\n    password authentication failed",
    ] {
        assert!(failure.message.contains(part), "{part} is not in: {failure}");
    }
    assert!(failure.help.unwrap().contains("cd /srv/p && docker compose ps -a"));
}

#[test]
fn what_compose_would_not_change_is_ok() {
    let plan = plan(vec![("--dry-run", output(0, "", " DRY-RUN MODE -  Container p-api-1  Running\n"))], &[])
        .unwrap();
    assert!(plan.steps.is_empty());
    assert_eq!(plan.result.get("containers").unwrap().as_list().unwrap().len(), 2);
}

#[test]
fn created_containers_go_again_and_started_ones_stop_when_undone() {
    let dry = " Network p_default  Creating\n Container p-api-1  Creating\n Container p-api-1  Starting\n Container p-db-1  Starting\n";
    let plan = plan(vec![("--dry-run", output(0, "", dry))], &[]).unwrap();
    let StepKind::Stateful(Undo::Effect(undo)) = &plan.steps[0].kind else { panic!("no inverse") };
    let Effect::Run(command) = &**undo else { panic!("no command") };
    assert_eq!(line(command), "docker rm --force p-api-1 && docker stop p-db-1");
}

#[test]
fn stopping_is_taken_back_by_starting_what_ran() {
    let given = [("state", Val::from("stopped")), ("services", Val::from("api"))];
    let done = plan(vec![], &given).unwrap();
    assert_eq!(effects(&done), [format!("{BASE} stop -- api")]);
    let StepKind::Stateful(Undo::Effect(undo)) = &done.steps[0].kind else { panic!("no inverse") };
    let Effect::Run(command) = &**undo else { panic!("no command") };
    assert_eq!(line(command), format!("{BASE} start -- api"));
    let stopped = API.replace("running", "exited").replace("healthy", "");
    let ok = plan(vec![(" ps ", output(0, &stopped, ""))], &given).unwrap();
    assert!(ok.steps.is_empty());
}

#[test]
fn restarting_is_derived_and_down_with_volumes_has_no_way_back() {
    let dry = output(0, "", " Container p-api-1  Restarting\n");
    let plan1 = plan(vec![("--dry-run", dry)], &[("state", Val::from("restarted"))]).unwrap();
    assert!(matches!(plan1.steps[0].kind, StepKind::Derived));
    let dry = output(0, "", " Container p-api-1  Stopping\n Container p-api-1  Removing\n");
    let given = [("state", Val::from("absent")), ("remove_volumes", Val::from(true))];
    let plan2 = plan(vec![("--dry-run", dry.clone())], &given).unwrap();
    assert!(matches!(&plan2.steps[0].kind, StepKind::Stateful(Undo::OneWay(why)) if why.contains("backup")));
    let plan3 = plan(vec![("--dry-run", dry)], &[("state", Val::from("absent"))]).unwrap();
    assert!(matches!(&plan3.steps[0].kind, StepKind::Stateful(Undo::Effect(_))));
}

#[test]
fn what_cannot_work_is_said_before_anything_is_changed() {
    let v1 = vec![("compose version", output(101, "1.29.2\n", ""))];
    assert!(plan(v1, &[]).map(|_| ()).unwrap_err().message.contains("Compose v1 is refused"));
    let denied = vec![(" ps ", output(1, "", "permission denied while trying to connect\n"))];
    assert!(plan(denied, &[]).map(|_| ()).unwrap_err().help.unwrap().contains("become"));
    let absent = vec![("--dry-run", output(1, "", "no such service: aip\n"))];
    let failure = plan(absent, &[("services", Val::from("aip"))]).map(|_| ()).unwrap_err();
    assert!(failure.message.contains("no such service: aip; nothing was changed"), "{failure}");
    for (given, part) in [
        (("files", Val::from("other.yaml")), "Cannot find Compose file \"other.yaml\""),
        (("project_src", Val::from("/nowhere")), "is not a directory"),
        (("definition", Val::map(crate::source::Map::new())), "definition is not supported"),
        (("assume_yes", Val::from(true)), "2.32.0 or newer"),
    ] {
        let failure = plan(vec![], &[given]).map(|_| ()).unwrap_err();
        assert!(failure.message.contains(part), "{failure}");
    }
}

#[test]
fn a_variable_that_wins_over_the_file_is_warned_of() {
    let environment = [("API_KEY".to_string(), Text::secret("hunter2hunter2"))];
    let warned = plan_with(vec![], &environment, &[]).unwrap();
    assert!(warned.warnings[0].starts_with("API_KEY is set by `environment:`"), "{:?}", warned.warnings);
    let warned = plan(vec![("env |", output(0, "PATH\nAPI_KEY\n", ""))], &[]).unwrap();
    assert!(warned.warnings[0].contains("the environment of the login"), "{:?}", warned.warnings);
}

#[test]
fn what_compose_repeats_of_a_broken_env_is_not_shown() {
    let broken = output(1, "", "failed to read .env: line 3: unterminated quoted value \"hunter2hunter2\n");
    let failure = plan(vec![(" ps ", broken)], &[]).map(|_| ()).unwrap_err();
    assert!(failure.message.contains("line 3: unterminated quoted value (the rest"), "{failure}");
    assert!(!format!("{failure:?}").contains("hunter2"));
}

#[test]
fn a_dry_run_does_not_wait() {
    // A stopped container would end it with an error.
    let stopped = output(1, "", "container p-api-1 exited (143)\n");
    assert_eq!(effects(&recreate(vec![("--wait --wait-timeout 30 --dry-run", stopped)]).unwrap()).len(), 1);
}

#[test]
fn keys_are_read_from_any_kind_of_assignment() {
    let keys = keys_of("# A=1\nB=2\n export C = 3\nexport D=4\nE: yaml\nnot a key\n=x\n");
    assert_eq!(keys.iter().map(String::as_str).collect::<Vec<_>>(), ["B", "C", "D", "E"]);
}
