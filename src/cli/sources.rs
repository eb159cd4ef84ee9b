//! Where the secrets of a run come from: flags that set Secret variables, and the warning about
//! those that the process list saw.

use std::path::Path;

use clap::Args;

use crate::inventory::names::check_variable;
use crate::secret::names::{is_placeholder, is_secret_name};
use crate::secret::{Error, Secret, command, source};
use crate::source::{Diagnostic, Diagnostics, Map, SourceFile, Span, Val};
use crate::vars::{extra_vars, no_vault};

use super::setup::secret_problem;

/// Flags that set Secret variables.
#[derive(Debug, Args)]
pub struct SecretSources {
    /// A Secret variable with the content of a file that is yours alone
    #[arg(long, value_name = "NAME=PATH")]
    pub secret_file: Vec<String>,
    /// A Secret variable with what this open descriptor gives
    #[arg(long, value_name = "NAME=N")]
    pub secret_fd: Vec<String>,
    /// A Secret variable with what this command prints, such as 'pass show x'
    #[arg(long, value_name = "NAME=COMMAND")]
    pub secret_command: Vec<String>,
    /// What they gave when the run began: it isn't asked for again.
    #[arg(skip)]
    pub given: Option<Map>,
}

impl SecretSources {
    /// What is read from a descriptor can be read once.
    pub fn reads_descriptors(&self) -> bool {
        !self.secret_fd.is_empty()
    }

    /// Their variables, as strong as `-e` and stronger than the same name there.
    ///
    /// # Errors
    /// A name that no variable can have or that is given twice; a source that gives nothing usable.
    pub fn variables(&self, cwd: &Path) -> Result<Map, Diagnostics> {
        if let Some(given) = &self.given {
            return Ok(given.clone());
        }
        let mut vars = Map::new();
        let file = |path: &str| source::from_file(&cwd.join(path));
        let descriptor = |number: &str| match number.parse() {
            Ok(number) => source::from_descriptor(number),
            Err(_) => Err(Error::refused(format!("'{number}' is not the number of a descriptor"))),
        };
        let command = |command: &str| command::run(command, cwd);
        add(&mut vars, "--secret-file", "PATH", &self.secret_file, &file)?;
        add(&mut vars, "--secret-fd", "N", &self.secret_fd, &descriptor)?;
        add(&mut vars, "--secret-command", "COMMAND", &self.secret_command, &command)?;
        Ok(vars)
    }
}

fn add(
    vars: &mut Map,
    flag: &str,
    what: &str,
    given: &[String],
    read: &dyn Fn(&str) -> Result<Secret, Error>,
) -> Result<(), Diagnostics> {
    let wrong = |message: String| Diagnostics(vec![Diagnostic::global("secret", message)]);
    for text in given {
        let Some((name, from)) =
            text.split_once('=').filter(|(name, from)| !name.is_empty() && !from.is_empty())
        else {
            // Not repeated: whoever takes this for `-e` typed the secret itself.
            let mut problem = wrong(format!("{flag} needs NAME={what}"));
            problem.0[0].help = Some(format!("for example: {flag} db_password={}", example(flag)));
            return Err(problem);
        };
        let mut problems = Diagnostics::default();
        check_variable(name, &Span::whole(&SourceFile::typed(flag, name.to_string())), &mut problems);
        if let Some(problem) = problems.0.pop() {
            return Err(wrong(format!("{flag}: {}", problem.message)));
        }
        if vars.contains_key(name) {
            return Err(wrong(format!("{flag}: a source for the secret {name} is given already")));
        }
        let secret = read(from).map_err(|mut e| {
            e.message = format!("{flag} {name}: {}", e.message);
            Diagnostics(vec![secret_problem(&e)])
        })?;
        vars.insert(Val::from(name), Val::Text(secret.to_text()));
    }
    Ok(())
}

fn example(flag: &str) -> &'static str {
    match flag {
        "--secret-file" => "PATH",
        "--secret-fd" => "3 3< <(pass show db)",
        _ => "'pass show db'",
    }
}

/// Warns of each secret among what `-e` was given in the command line itself: every process of this
/// machine can read that.
pub fn seen_by_others(given: &[String], cwd: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for text in given.iter().filter(|text| !text.starts_with('@')) {
        let (vars, _) = extra_vars(std::slice::from_ref(text), cwd, &no_vault());
        secret_names(&Val::map(vars), None, &mut names);
    }
    names.dedup();
    let warning = |(top, name): (String, String)| {
        let instead = format!(
            "--secret-file {top}=FILE, --secret-command {top}='pass show {top}', vars_prompt, or an encrypted -e @FILE"
        );
        format!(
            "The value of {name} was given with -e, so the process list and the shell's history saw it. Use {instead} instead."
        )
    };
    names.into_iter().map(warning).collect()
}

/// The variable and the name, where they differ, of each literal secret in `val`.
fn secret_names(val: &Val, path: Option<(&str, &str)>, names: &mut Vec<(String, String)>) {
    match val {
        Val::Map(map) => {
            for (key, value) in map.iter() {
                let key = key.key_text();
                match path {
                    None => secret_names(value, Some((&key, &key)), names),
                    Some((top, whole)) => secret_names(value, Some((top, &format!("{whole}.{key}"))), names),
                }
            }
        }
        Val::List(items) => items.iter().for_each(|item| secret_names(item, path, names)),
        Val::Text(text) => {
            if let Some((top, whole)) = path
                && is_secret_name(whole.rsplit('.').next().unwrap_or(whole))
                && !is_placeholder(text)
            {
                names.push((top.to_string(), whole.to_string()));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_the_command_line() {
        let seen = |given: &[&str]| {
            let given: Vec<String> = given.iter().map(ToString::to_string).collect();
            let warnings = seen_by_others(&given, Path::new("/nonexistent"));
            let name = |w: &String| w.split_whitespace().nth(3).unwrap_or_default().to_string();
            warnings.iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(seen(&["db_password=hunter2 level=3", "API_TOKEN='x y'"]), ["db_password", "API_TOKEN"]);
        assert_eq!(
            seen(&[r#"{"db": {"password": "hunter2", "port": 1}, "users": [{"token": "t0k"}]}"#]),
            ["db.password", "users.token"]
        );
        for given in [
            "@secrets.yml",
            "db_password={{ lookup('env', 'X') }}",
            "password_file=/x/y",
            "token=",
            "x=hunter2",
        ] {
            assert_eq!(seen(&[given]), [""; 0], "{given}");
        }
        let given = ["db_password=hunter2hunter2".to_string()];
        assert!(!seen_by_others(&given, Path::new("/")).concat().contains("hunter2"));
    }
}
