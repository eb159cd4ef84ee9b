//! Facts → Markdown that can be pasted into a ticket.

use chrono::DateTime;

use crate::report::facts::{Change, Facts, How, What};

/// The head of a note, once.
pub fn head(facts: &Facts) -> String {
    format!("# Maintenance note: {}\n\nRun {} of seqn-play.\n", plain(&facts.playbooks.join(" ")), facts.run)
}

/// What one program did with the run.
pub fn section(facts: &Facts) -> String {
    let mut text = format!("\n## {}, {}\n\n", title(facts.what), day(&facts.begun));
    summary(&mut text, facts);
    failures(&mut text, facts);
    unfinished(&mut text, facts);
    if facts.what != What::Rollback {
        changes(&mut text, facts);
    }
    taken_back(&mut text, facts);
    // Who abandons a run looked at nothing.
    if matches!(facts.what, What::Run | What::Resume) {
        backups(&mut text, facts);
        checks(&mut text, facts);
        interruptions(&mut text, facts);
    }
    one_way(&mut text, facts);
    warnings(&mut text, facts);
    way_back(&mut text, facts);
    text
}

fn title(what: What) -> &'static str {
    match what {
        What::Run => "Run",
        What::Resume => "Gone on with",
        What::Rollback => "Rollback",
        What::Abandon => "Abandoned",
    }
}

fn summary(text: &mut String, facts: &Facts) {
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("- **{name}:** {value}\n"));
        }
    };
    line("Who", &plain(&facts.actor));
    line("Why", &facts.reason.as_deref().map_or("no reason was given".into(), plain));
    line("Playbook", &plain(&facts.playbooks.join(" ")));
    let inventory = plain(&facts.inventory.join(" "));
    line("Inventory", if inventory.is_empty() { "the default one" } else { &inventory });
    line("Hosts", &plain(&facts.hosts.join(", ")));
    let scope = &facts.scope;
    let limit = scope.limit.iter().map(|l| code(&format!("--limit {l}")));
    let tags = scope.tags.iter().map(|t| code(&format!("--tags {t}")));
    let skipped = scope.skip_tags.iter().map(|t| code(&format!("--skip-tags {t}")));
    line("Only", &limit.chain(tags).chain(skipped).collect::<Vec<_>>().join(", "));
    line("Begun", &moment(&facts.begun));
    if let Some(ended) = &facts.ended {
        line("Ended", &format!("{}{}", moment(ended), took(&facts.begun, ended)));
    }
    line("How it ended", outcome(facts));
}

fn outcome(facts: &Facts) -> &'static str {
    match facts.how {
        Some(How::Finished) if facts.changes.is_empty() => "well; nothing had to be changed",
        Some(How::Finished) => "well",
        Some(How::Failed) => "it failed",
        Some(How::Interrupted) => {
            "stopped with Ctrl-C: what is told below was done to its end, nothing after it was begun"
        }
        Some(How::Stopped) => "stopped at once with a second Ctrl-C: what had begun may have happened or not",
        Some(How::RolledBack) => "rolled back",
        Some(How::NotRolledBack) => "NOT everything could be rolled back",
        Some(How::Abandoned) => "abandoned: what it did stays as it is",
        None => "",
    }
}

fn failures(text: &mut String, facts: &Facts) {
    let (ignored, stand): (Vec<_>, Vec<_>) = facts.failures.iter().partition(|f| f.ignored);
    if stand.is_empty() && facts.how == Some(How::Failed) && !facts.problems.is_empty() {
        text.push_str("\n### What failed\n\n");
        facts.problems.iter().for_each(|p| text.push_str(&block("", p)));
    }
    for (title, failures) in [("What failed", stand), ("Failures that the playbook ignores", ignored)] {
        if !failures.is_empty() {
            text.push_str(&format!("\n### {title}\n"));
        }
        for failed in failures {
            let what = place(&failed.task, &failed.host, failed.item.as_deref());
            let (at, message) = (clock(&failed.at), block("", &failed.message));
            text.push_str(&format!("\n{what} at {at}\n\n{message}"));
        }
    }
}

fn unfinished(text: &mut String, facts: &Facts) {
    if facts.unfinished.is_empty() {
        return;
    }
    text.push_str("\n### What was begun and is not known to have ended well\n\n");
    for step in &facts.unfinished {
        let what = code(&step.step);
        text.push_str(&format!(
            "- {what} of {} at {}\n",
            place(&step.task, &step.host, None),
            clock(&step.at)
        ));
    }
}

fn changes(text: &mut String, facts: &Facts) {
    text.push_str("\n### What changed\n");
    if facts.changes.is_empty() {
        text.push_str("\nNothing was changed.\n");
    }
    for change in &facts.changes {
        let when = match change.before {
            true => "before the run was gone on with".to_string(),
            false => format!("at {}", clock(&change.at)),
        };
        let what = place(&change.task, &change.host, change.item.as_deref());
        text.push_str(&format!("\n{what}, {when}\n\n{}", steps(change)));
        if let Some(diff) = &change.diff {
            text.push_str(&block("diff", diff));
        }
    }
}

fn steps(change: &Change) -> String {
    let lines = change.steps.iter().map(|step| {
        let more = match (step.taken_back, step.stays) {
            (true, _) => " (taken back, see below)",
            (_, true) => " (a rollback leaves it as it is, so the task says)",
            _ => "",
        };
        format!("- {}{more}\n", code(&step.label))
    });
    let lines: String = lines.collect();
    if lines.is_empty() || change.diff.is_none() { lines } else { format!("{lines}\n") }
}

fn taken_back(text: &mut String, facts: &Facts) {
    if facts.taken_back.is_empty() && facts.what != What::Rollback {
        return;
    }
    text.push_str("\n### What was taken back\n\n");
    if facts.taken_back.is_empty() {
        text.push_str("Nothing was taken back.\n");
    }
    for step in &facts.taken_back {
        let (what, host) = (code(&step.step), plain(&step.host));
        match &step.error {
            None => text.push_str(&format!("- {what} on {host}\n")),
            Some(why) => text.push_str(&format!("- NOT {what} on {host}: {}\n", plain(&one_line(why)))),
        }
    }
    if facts.what == What::Rollback {
        text.push_str("\nA rollback runs no checks: look at the service before you close the ticket.\n");
    }
}

fn backups(text: &mut String, facts: &Facts) {
    text.push_str("\n### Backups\n\n");
    if facts.backups.is_empty() {
        text.push_str("No task of this run took a backup that it proved.\n");
    }
    for backup in &facts.backups {
        let (path, host) = (code(&backup.path), plain(&backup.host));
        text.push_str(&format!("- {path} on {host}: {} ({})\n", plain(&backup.proof), plain(&backup.task)));
    }
}

fn checks(text: &mut String, facts: &Facts) {
    text.push_str("\n### Verification\n\n");
    if facts.checks.is_empty() {
        text.push_str("No task of this run checked anything.\n");
    }
    for check in &facts.checks {
        let word = if check.ok { "well" } else { "NOT WELL" };
        let what =
            if check.what.is_empty() { String::new() } else { format!(": {}", code(&one_line(&check.what))) };
        let when = if check.before { "before the run was gone on with".into() } else { clock(&check.at) };
        let of = place(&check.task, &check.host, check.item.as_deref());
        text.push_str(&format!("- {word}, {when}: {of}{what}\n"));
    }
}

fn interruptions(text: &mut String, facts: &Facts) {
    text.push_str("\n### Interruption\n\n");
    if facts.interruptions.is_empty() {
        text.push_str("No Step of this run stops, restarts or recreates a service.\n");
    }
    for gap in &facts.interruptions {
        let began = format!("- {}: from {} ({})", plain(&gap.host), clock(&gap.from), code(&gap.step));
        match (&gap.to, gap.seconds, &gap.seen_by) {
            (Some(to), Some(seconds), Some(seen)) => {
                text.push_str(&format!("{began} to {} ({}): {seconds:.1} s\n", clock(to), plain(seen)))
            }
            _ => text
                .push_str(&format!("{began}; no check of health came after it, so its end is not known\n")),
        }
    }
}

fn one_way(text: &mut String, facts: &Facts) {
    if facts.one_way.is_empty() {
        return;
    }
    text.push_str("\n### What can't be undone\n\n");
    for step in &facts.one_way {
        let (what, why) = (code(&step.step), plain(&one_line(&step.why)));
        text.push_str(&format!("- {what} of {}: {why}\n", place(&step.task, &step.host, None)));
    }
}

fn warnings(text: &mut String, facts: &Facts) {
    if facts.warnings.is_empty() {
        return;
    }
    text.push_str("\n### Warnings\n\n");
    facts.warnings.iter().for_each(|w| text.push_str(&format!("- {}\n", plain(&one_line(w)))));
}

fn way_back(text: &mut String, facts: &Facts) {
    text.push_str("\n### How to roll back\n\n");
    let id = &facts.run;
    let back = code(&format!("seqn-play rollback {id}"));
    let told = match facts.how {
        Some(How::Abandoned) => "Not by a command: whoever abandoned the run said that it stays.".to_string(),
        _ if !facts.stands => "Nothing of this run stands that could be rolled back.".to_string(),
        _ if !facts.kept => {
            "It can't be by a command: there was no age identity, so nothing was kept of what was there before."
                .to_string()
        }
        Some(How::NotRolledBack) => format!("{back} tries the rest again."),
        _ if facts.one_way.is_empty() => {
            format!("{back} ({} shows what it would do).", code(&format!("seqn-play rollback {id} --check")))
        }
        _ => {
            let last = facts.one_way.last().map(|s| s.task.clone()).unwrap_or_default();
            let to = code(&format!("seqn-play rollback {id} --to {}", shell_words::quote(&last)));
            format!("{back} refuses for what can't be undone, see above. Only what came after it can go back: {to}.")
        }
    };
    text.push_str(&told);
    if matches!(facts.how, Some(How::Failed | How::Interrupted | How::Stopped)) && facts.kept && facts.stands
    {
        text.push_str(&format!(" Or go on: {}.", code(&format!("seqn-play resume {id}"))));
    }
    text.push('\n');
}

/// `**Write the file** on web1 (item)`
fn place(task: &str, host: &str, item: Option<&str>) -> String {
    let item = item.map(|i| format!(" ({})", code(&one_line(i)))).unwrap_or_default();
    format!("**{}** on {}{item}", plain(&one_line(task)), plain(host))
}

/// Text that means nothing to Markdown.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        // Within a word an underscore is one.
        let in_word = before.is_alphanumeric() && rest.peek().is_some_and(|next| next.is_alphanumeric());
        if matches!(c, '\\' | '`' | '*' | '<' | '[' | ']' | '#') || (c == '_' && !in_word) {
            out.push('\\');
        }
        out.push(c);
        before = c;
    }
    out
}

/// As it stands, in one line.
fn code(text: &str) -> String {
    let fence = "`".repeat(longest_run(text) + 1);
    let space = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

/// As it stands, in lines of its own.
fn block(language: &str, text: &str) -> String {
    let fence = "`".repeat((longest_run(text) + 1).max(3));
    format!("{fence}{language}\n{}\n{fence}\n", text.trim_end_matches('\n'))
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shown(at: &str, format: &str) -> String {
    DateTime::parse_from_rfc3339(at).map_or_else(|_| at.to_string(), |at| at.format(format).to_string())
}

fn day(at: &str) -> String {
    shown(at, "%Y-%m-%d %H:%M")
}

fn moment(at: &str) -> String {
    shown(at, "%Y-%m-%d %H:%M:%S %:z")
}

fn clock(at: &str) -> String {
    shown(at, "%H:%M:%S")
}

fn took(from: &str, to: &str) -> String {
    let (Ok(from), Ok(to)) = (DateTime::parse_from_rfc3339(from), DateTime::parse_from_rfc3339(to)) else {
        return String::new();
    };
    format!(" ({:.1} s)", to.signed_duration_since(from).num_milliseconds() as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_value_is_markdown() {
        assert_eq!(
            plain("a_b _x_ *c* <d> [e](f) `g` #h"),
            "a_b \\_x\\_ \\*c\\* \\<d> \\[e\\](f) \\`g\\` \\#h"
        );
        assert_eq!(code("x"), "`x`");
        assert_eq!(code("a `b` c"), "``a `b` c``");
        assert_eq!(code("`b`"), "`` `b` ``");
        assert_eq!(block("diff", "+```\n"), "````diff\n+```\n````\n");
    }
}
