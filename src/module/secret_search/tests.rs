use std::io::Write;
use std::process::{Command as Process, Stdio};

use super::*;
use crate::remote::Program;

const VALUE: &str = "s3cretS3cretS3cret";

/// Runs what would be sent, on this machine.
fn really(command: &Command) -> Output {
    let Program::Argv(argv) = &command.program else { panic!("no argv") };
    assert!(argv.iter().all(|word| !word.contains(VALUE)), "a value in argv");
    let mut child = Process::new(argv[0].as_str())
        .args(argv[1..].iter().map(|t| t.as_str()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = command.stdin.clone().unwrap();
    assert!(stdin.is_secret());
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    Output {
        status: done.status.code().unwrap(),
        stdout: done.stdout,
        stderr: done.stderr,
        ..Output::default()
    }
}

fn asking(dir: &std::path::Path, exclude: &[&str]) -> Args {
    let at = |name: &str| dir.join(name).display().to_string();
    Args {
        values: vec![Text::secret(VALUE)],
        paths: vec![dir.display().to_string()],
        exclude: exclude.iter().map(|name| at(name)).collect(),
        containers: false,
        project: Some("p".into()),
        allowed: vec![Allowed {
            path: Some(at(".env")),
            services: vec![],
            keys: vec!["PASS".into(), "URL".into()],
        }],
        report_only: false,
        max_size: 1 << 20,
        docker_cli: None,
    }
}

fn search(args: &Args) -> Result<Plan, Failure> {
    let needles = needles(&args.values).unwrap();
    let (found, skipped) = files::read(&really(&files::question(args, &needles)))?;
    judge(args, &found, skipped)
}

#[test]
fn a_declared_place_is_fine_and_any_other_is_refused_by_name() {
    use base64::Engine;
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write(".env", &format!("# comment\nexport PASS='{VALUE}'\nURL=postgres://a:{VALUE}@db/x\nOTHER=1\n"));
    std::fs::create_dir(dir.path().join("backups")).unwrap();
    write("backups/old.env", &format!("PASS={VALUE}\n"));
    let args = asking(dir.path(), &["backups"]);
    let plan = search(&args).unwrap();
    assert_eq!(plan.result.get("found").unwrap().as_list().unwrap().len(), 2);
    assert!(plan.steps.is_empty());

    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("user:{VALUE}"));
    write("with space.yaml", &format!("a: b\n  header: \"Basic {encoded}\"\n"));
    std::fs::write(dir.path().join("blob"), [b"\0\0\x01", VALUE.as_bytes(), b"\0"].concat()).unwrap();
    write("large", &"x".repeat(2 << 20));
    let failure = search(&args).map(|_| ()).unwrap_err();
    assert!(failure.message.contains("with space.yaml line 2 (header)"), "{failure}");
    assert!(failure.message.contains("blob line 1"), "{failure}");
    assert!(!failure.message.contains(".env") && !format!("{failure:?}").contains(VALUE), "{failure}");
    assert_eq!(failure.result.get("skipped").unwrap().as_list().unwrap().len(), 1);

    let told = search(&Args { report_only: true, ..args.clone() }).unwrap();
    assert_eq!(told.result.get("undeclared").unwrap().as_list().unwrap().len(), 2);
    let everywhere = search(&asking(dir.path(), &[])).map(|_| ()).unwrap_err();
    assert!(everywhere.message.contains("backups/old.env line 1 (PASS)"), "{everywhere}");
}

#[test]
fn what_cannot_be_searched_is_no_proof() {
    let mut args = asking(std::path::Path::new("/nonexistent-place"), &[]);
    let failure = search(&args).map(|_| ()).unwrap_err();
    assert!(failure.message.contains("not everything could be searched"), "{failure}");
    args.values = vec![Text::secret("abc")];
    assert!(needles(&args.values).unwrap_err().message.contains("too short"));
    let two = Output { stdout: b"batch:\nbatch:\n".to_vec(), ..Output::default() };
    assert!(files::read(&two).map(|_| ()).unwrap_err().message.contains("more files"));
}

#[test]
fn containers_are_searched_by_variable_and_by_field() {
    let inspect = format!(
        r#"[{{"Name":"/p-api-1","Config":{{"Env":["A=1","URL=postgres://a:{VALUE}@db"],"Cmd":["run"],
            "Labels":{{"com.docker.compose.service":"api","com.docker.compose.project":"p"}}}}}},
           {{"Name":"/stray","Args":["--password={VALUE}"],"Config":{{"Env":null,"Labels":null}}}}]"#
    );
    let output = Output { stdout: inspect.into_bytes(), ..Output::default() };
    let found = containers::read(&output, &[VALUE.to_string()]).unwrap();
    let told: Vec<String> = found.iter().map(Found::described).collect();
    assert_eq!(told, ["the container p-api-1 of the service api (URL)", "the container stray (Args[0])"]);
    let mut args = asking(std::path::Path::new("/x"), &[]);
    args.allowed = vec![Allowed { path: None, services: vec!["api".into()], keys: vec!["URL".into()] }];
    let failure = judge(&args, &found, vec![]).map(|_| ()).unwrap_err();
    assert!(failure.message.contains("stray") && !failure.message.contains("p-api-1"), "{failure}");
    // The same service of another project is another place.
    args.project = Some("q".into());
    assert!(judge(&args, &found, vec![]).map(|_| ()).unwrap_err().message.contains("p-api-1"));
    args.report_only = true;
    args.project = Some("p".into());
    let plan = judge(&args, &found, vec![]).unwrap();
    assert_eq!(plan.result.get("services").unwrap(), &Val::from(vec!["api"]));
}

#[test]
fn an_engine_that_does_not_answer_is_an_error() {
    let denied = Output { status: 1, stderr: b"permission denied\n".to_vec(), ..Output::default() };
    assert!(containers::read(&denied, &[]).unwrap_err().message.contains("permission denied"));
    assert_eq!(containers::read(&Output::default(), &[]).unwrap(), []);
    let gone = Output {
        status: 1,
        stdout: b"[]".to_vec(),
        stderr: b"Error: No such object: x\n".to_vec(),
        ..Output::default()
    };
    assert_eq!(containers::read(&gone, &[]).unwrap(), []);
}
