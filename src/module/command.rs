//! `command`: a program with arguments, no shell between.

use serde::Deserialize;

use super::{CheckAnswer, Failure, Module, Plan, PlanCx, Step, host_path, output};
use crate::remote::{Command, Effect, Output, Program, Target};
use crate::source::{Map, Text, Val};

/// Runs a program; no shell sees its arguments.
pub struct RunCommand;

/// Arguments of `command`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Program and arguments, split as a shell splits words.
    #[serde(alias = "cmd")]
    pub _raw_params: Option<Text>,
    /// Program and arguments, one each.
    #[serde(default)]
    pub argv: Option<Vec<Text>>,
    /// Run in this folder.
    pub chdir: Option<String>,
    /// Don't run when this path or glob is there.
    pub creates: Option<String>,
    /// Don't run unless this path or glob is there.
    pub removes: Option<String>,
    /// Ignored with a warning: only `shell` has one.
    pub executable: Option<String>,
    /// Replace `$NAME`, `${NAME}` and a leading `~` in arguments.
    #[serde(default = "yes")]
    pub expand_argument_vars: bool,
    /// Given on standard input.
    pub stdin: Option<Text>,
    /// End `stdin` with a newline.
    #[serde(default = "yes")]
    pub stdin_add_newline: bool,
    /// Cut empty lines from the end of the output.
    #[serde(default = "yes")]
    pub strip_empty_ends: bool,
}

fn yes() -> bool {
    true
}

/// Why a command is one-way.
pub const ANYTHING: &str = "nobody but its author knows what a command changes";

impl Module for RunCommand {
    type Args = Args;
    const NAME: &'static str = "command";
    const FREE_FORM: Option<&'static str> = Some("_raw_params");

    fn one_way(_: &Val) -> Option<&'static str> {
        Some(ANYTHING)
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let raw = args._raw_params.filter(|t| !t.trim().is_empty());
        let argv = args.argv.filter(|a| !a.is_empty());
        let argv = match (raw, argv) {
            (None, None) => return Err(refused("no command given")),
            (Some(_), Some(_)) => return Err(refused("only command or argv can be given, not both")),
            (None, Some(argv)) => argv,
            (Some(raw), None) => {
                let part = |p: String| if raw.is_secret() { Text::secret(p) } else { Text::new(p) };
                split(&raw).map_err(Failure::new)?.into_iter().map(part).collect()
            }
        };
        let shown = Val::from(argv.clone());
        let program =
            if args.expand_argument_vars { expanding(argv.clone()) } else { Program::Argv(argv.clone()) };
        let label = argv.first().filter(|p| !p.is_secret()).map_or("a command", Text::as_str);
        let mut plan = guarded(
            Guarded {
                program,
                shown,
                label: format!("run {label}"),
                chdir: args.chdir,
                creates: args.creates,
                removes: args.removes,
                stdin: stdin(args.stdin, args.stdin_add_newline),
                strip: args.strip_empty_ends,
                not_found: argv.first().cloned(),
            },
            cx,
        )
        .await?;
        if let Some(executable) = args.executable {
            plan.warnings.push(format!(
                "As of Ansible 2.4, the parameter 'executable' is no longer supported with the 'command' \
                 module. Not using '{executable}'."
            ));
        }
        Ok(plan)
    }
}

fn refused(message: &str) -> Failure {
    Failure::new(message).value("rc", 256).value("cmd", Val::Null)
}

/// What `command` and `shell` have in common.
pub struct Guarded {
    pub program: Program,
    /// The result value `cmd`.
    pub shown: Val,
    pub label: String,
    pub chdir: Option<String>,
    pub creates: Option<String>,
    pub removes: Option<String>,
    pub stdin: Option<Text>,
    pub strip: bool,
    /// A program whose absence is an error of its own, where no shell reports it.
    pub not_found: Option<Text>,
}

pub fn stdin(text: Option<Text>, add_newline: bool) -> Option<Text> {
    let text = text?;
    if !add_newline {
        return Some(text);
    }
    let with_newline = format!("{}\n", text.as_str());
    Some(if text.is_secret() { Text::secret(with_newline) } else { Text::new(with_newline) })
}

/// The Plan of a command behind `creates` and `removes`.
///
/// # Errors
/// The host couldn't be asked, or the folder isn't there.
pub async fn guarded(run: Guarded, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
    let chdir = host_path::expand_opt(cx.target, run.chdir.as_deref()).await?;
    if let Some(folder) = &chdir
        && cx.target.stat(folder).await?.is_none()
    {
        return Err(Failure::new(format!(
            "Unable to change directory before execution: [Errno 2] No such file or directory: '{folder}'"
        ))
        .value("cmd", run.shown)
        .value("rc", Val::Null));
    }
    let verb = if cx.check { "Would" } else { "Did" };
    let not_run = |why: String, legacy: String| {
        let mut plan = Plan { result: placeholder(&run.shown, &why), ..Plan::ok() };
        plan.result.extend(output::texts(&legacy, "", false));
        Ok(plan)
    };
    if let Some(creates) = host_path::expand_opt(cx.target, run.creates.as_deref()).await?
        && any_exists(cx.target, chdir.as_deref(), &creates).await?
    {
        let why = format!("{verb} not run command since '{creates}' exists");
        return not_run(why, format!("skipped, since {creates} exists"));
    }
    if let Some(removes) = host_path::expand_opt(cx.target, run.removes.as_deref()).await?
        && !any_exists(cx.target, chdir.as_deref(), &removes).await?
    {
        let why = format!("{verb} not run command since '{removes}' does not exist");
        return not_run(why, format!("skipped, since {removes} does not exist"));
    }

    let command =
        Command { chdir, env: cx.environment.to_vec(), stdin: run.stdin, ..Command::new(run.program) };
    let guarded = run.creates.is_some() || run.removes.is_some();
    let why = "what a command did cannot be undone by itself; give the task `undo:`";
    let step = Step::one_way(run.label, Effect::Run(command), why);
    // Where `creates` and `removes` still ask for it, it didn't come to its end before.
    let mut plan = Plan::ok().step(if guarded { step } else { step.unobservable() });
    plan.changed = Some(true);
    let would = placeholder(&run.shown, "Command would have run if not in check mode");
    if guarded {
        // Ansible promises the change then; otherwise it says `skipped`.
        if cx.check {
            plan.result = would;
        }
    } else {
        plan.check = CheckAnswer::Skip(would);
    }
    let (shown, strip, not_found) = (run.shown, run.strip, run.not_found);
    Ok(plan.finish(move |outputs| finish(outputs, shown, strip, not_found)))
}

fn finish(outputs: &[Output], shown: Val, strip: bool, not_found: Option<Text>) -> Result<Plan, Failure> {
    let output = outputs.last().cloned().unwrap_or_default();
    let mut result = output::of_command(&output, strip);
    result.insert(Val::from("cmd"), shown);
    if output.success() {
        result.insert(Val::from("msg"), Val::from(""));
        return Ok(Plan { result, changed: Some(true), ..Plan::ok() });
    }
    let message = match not_found {
        Some(program) if output.status == 127 && output.stderr_text().contains("not found") => {
            result.insert(Val::from("rc"), Val::Int(2));
            // It said nothing: what is there are the words of the shell that didn't find it.
            for said in ["stdout", "stderr"] {
                result.insert(Val::from(said), Val::from(""));
                result.insert(Val::from(format!("{said}_lines")), Val::list(vec![]));
            }
            format!("[Errno 2] No such file or directory: '{}'", program.as_str())
        }
        _ => {
            result.insert(Val::from("changed"), Val::Bool(true));
            "non-zero return code".into()
        }
    };
    Err(Failure { result, ..Failure::new(message) })
}

/// The result of a command that didn't run.
fn placeholder(shown: &Val, msg: &str) -> Map {
    let mut map = output::texts("", "", false);
    for key in ["start", "end", "delta"] {
        map.insert(Val::from(key), Val::Null);
    }
    map.insert(Val::from("rc"), Val::Int(0));
    map.insert(Val::from("cmd"), shown.clone());
    map.insert(Val::from("msg"), Val::from(msg));
    map
}

/// Whether something is at `pattern`, which may be a glob, seen from `folder`.
///
/// # Errors
/// The host couldn't be asked.
async fn any_exists(target: &Target, folder: Option<&str>, pattern: &str) -> Result<bool, Failure> {
    let path = folder.map_or_else(|| pattern.to_string(), |f| host_path::join(f, pattern));
    if !pattern.contains(['*', '?', '[']) {
        return Ok(target.stat_with(&path, false, None).await?.is_some());
    }
    // Field splitting is off: only the glob itself is expanded.
    let script = format!(
        "IFS=\npattern={}\nfor found in $pattern; do\nif [ -e \"$found\" ] || [ -L \"$found\" ]; then exit 0; fi\ndone\nexit 1",
        host_path::quote(&path)
    );
    Ok(target.query(Command::shell(script)).await?.success())
}

/// Arguments that a shell's variables and tildes would change go through one that does only that.
fn expanding(argv: Vec<Text>) -> Program {
    let words: Vec<String> = argv.iter().map(|a| host_path::expansion(a)).collect();
    if argv.iter().zip(&words).all(|(arg, word)| *word == host_path::quote(arg)) {
        return Program::Argv(argv);
    }
    let script = format!("exec {}", words.join(" "));
    let secret = argv.iter().any(Text::is_secret);
    let script = if secret { Text::secret(script) } else { Text::new(script) };
    Program::Shell { script, executable: "/bin/sh".into() }
}

/// As Python's `shlex.split`.
///
/// # Errors
/// A quote that isn't closed.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("No closing quotation".into()),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(c @ ('"' | '\\')) => word.push(c),
                            Some(c) => word.extend(['\\', c]),
                            None => return Err("No escaped character".into()),
                        },
                        Some(c) => word.push(c),
                        None => return Err("No closing quotation".into()),
                    }
                }
            }
            '\\' => match chars.next() {
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err("No escaped character".into()),
            },
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_split_as_in_python() {
        for (text, want) in [
            ("ls -l  /a", &["ls", "-l", "/a"][..]),
            ("a 'b c' \"d \\\" \\$e\" f\\ g", &["a", "b c", "d \" \\$e", "f g"]),
            ("a '' b", &["a", "", "b"]),
            ("a#b\n c", &["a#b", "c"]),
            ("x=\"1 2\"3", &["x=1 23"]),
            ("", &[]),
        ] {
            assert_eq!(split(text).unwrap(), want, "{text}");
        }
        assert_eq!(split("a 'b").unwrap_err(), "No closing quotation");
        assert_eq!(split("a\\").unwrap_err(), "No escaped character");
    }

    #[test]
    fn only_arguments_that_expand_meet_a_shell() {
        let argv = |words: &[&str]| words.iter().map(|w| Text::new(*w)).collect::<Vec<_>>();
        assert_eq!(expanding(argv(&["a b", "*"])), Program::Argv(argv(&["a b", "*"])));
        let Program::Shell { script, .. } = expanding(argv(&["ls", "~/x y", "$A;"])) else { panic!() };
        assert_eq!(script.as_str(), "exec 'ls' ~/'x y' \"${A-$(printf %s '$A')}\"';'");
    }

    #[test]
    fn failures_read_as_ansibles() {
        let output = Output { status: 3, stdout: b"out\n\n".to_vec(), ..Output::default() };
        let failure = finish(&[output], Val::from("x"), true, None).err().unwrap();
        assert_eq!(failure.message, "non-zero return code");
        assert_eq!(failure.result.get("rc"), Some(&Val::Int(3)));
        assert_eq!(failure.result.get("stdout"), Some(&Val::from("out")));
        assert_eq!(failure.result.get("changed"), Some(&Val::Bool(true)));
    }
}
