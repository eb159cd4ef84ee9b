//! `env-edit-not-dotenv`.

use crate::lint::{Found, Project, Rule, Visit};
use crate::source::Severity;

use super::change::is_env_file;

pub static RULE: Rule = Rule {
    name: "env-edit-not-dotenv",
    severity: Severity::Warning,
    summary: "a `.env` file is changed by something else than `dotenv`",
    why: "\
Compose has rules of its own for `.env`: quotes, `$`, `#`, `export`, and of a key that is there twice the last one wins. \
A line that `lineinfile`, a template or `sed` wrote may be read as something else than what was meant, and its value may \
show in a diff or in a process list. `seqn.play.dotenv` keeps comments, order, mode and owner, and reads back what \
Compose will read before it writes.",
    bad: BAD,
    good: GOOD,
    check,
};

const BAD: &str = "\
- hosts: seqn
  tasks:
    - name: Log less
      ansible.builtin.lineinfile: # here
        path: /srv/seqn-auth/.env
        regexp: ^LOG_LEVEL=
        line: LOG_LEVEL=warn
";

const GOOD: &str = "\
- hosts: seqn
  tasks:
    - name: Log less
      seqn.play.dotenv:
        path: /srv/seqn-auth/.env
        key: LOG_LEVEL
        value: warn
";

fn check(project: &Project, found: &mut Found) {
    for visit in project.tasks.iter().filter(|visit| !visit.only_looks()) {
        let Some(call) = visit.call() else { continue };
        if edits_env_file(visit) {
            found.add(
                format!("`{}` writes to a .env file", call.written),
                &call.span,
                Some(&visit.task.span),
                "use `seqn.play.dotenv`, a task for each key",
            );
        }
    }
}

fn edits_env_file(visit: &Visit) -> bool {
    let path = match visit.module() {
        "lineinfile" | "blockinfile" | "replace" => visit.text_arg(&["path", "dest", "destfile", "name"]),
        "copy" | "template" | "assemble" => visit.text_arg(&["dest"]),
        _ => return visit.command_line().is_some_and(|line| writes_env_file(&line)),
    };
    let paths =
        path.map(|path| visit.known_texts(path).unwrap_or_default().into_iter().chain([path.to_string()]));
    paths.into_iter().flatten().any(|path| is_env_file(&path))
}

/// Whether a command line writes a `.env` file: `sed -i`, `>`, `tee`, `cp`, `mv`.
fn writes_env_file(line: &str) -> bool {
    line.split(['\n', ';', '|', '&']).any(|command| {
        let words = words(command);
        let redirected = words.iter().zip(words.iter().skip(1)).any(|(word, next)| {
            word.trim_start_matches(|c: char| c.is_ascii_digit()).trim_matches('>').is_empty()
                && word.contains('>')
                && is_env_file(next)
        });
        let program = words.iter().find(|word| !["sudo", "env", "command"].contains(&word.as_str()));
        let program = program.and_then(|word| word.rsplit('/').next()).unwrap_or("");
        let in_place =
            words.iter().any(|w| w.starts_with("-i") || w.starts_with("--in-place") || w == "inplace");
        let names_one = words.iter().any(|word| is_env_file(word));
        redirected
            || match program {
                "sed" | "perl" | "ruby" | "awk" | "gawk" => in_place && names_one,
                "tee" | "ed" | "ex" | "truncate" => names_one,
                "cp" | "mv" | "install" | "ln" => words.last().is_some_and(|word| is_env_file(word)),
                _ => false,
            }
    })
}

/// The words of a simple command; `>` is one of its own, a template too.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quote, mut depth) = (None, 0);
    for c in command.chars() {
        match (quote, c) {
            (_, '{') => depth += 1,
            (_, '}') => depth -= 1,
            _ => {}
        }
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if depth == 0 && c.is_whitespace() => words.push(String::new()),
            None if depth == 0 && c == '>' => words.extend([">".to_string(), String::new()]),
            _ => words.last_mut().into_iter().for_each(|word| word.push(c)),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_write() {
        for line in [
            "sed -i 's/^A=.*/A=b/' .env",
            "sed -i.bak -e s/a/b/ /srv/seqn-auth/.env",
            "sudo sed --in-place s/a/b/ {{ seqn_env_file }}",
            "echo A=b >> .env",
            "echo A=b>.env",
            "cd /srv && echo A=b > \"{{ seqn_project_dir }}/.env\"",
            "printf x | sudo tee -a .env",
            "cp .env.new .env",
            "perl -i -pe s/a/b/ .env",
        ] {
            assert!(writes_env_file(line), "{line}");
        }
        for line in [
            "grep -q A= .env",
            "sed -n s/a/b/p .env",
            "cp .env .env.bak",
            "docker compose --env-file .env up -d > log",
            ". ./.env; echo $A",
            "cat .env | sed -i s/a/b/ other",
            "",
        ] {
            assert!(!writes_env_file(line), "{line}");
        }
    }
}
