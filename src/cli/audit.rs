//! `seqn-play runs audit` and `runs verify`: who changed what, when and why; and whether that is what
//! was written.

use chrono::{DateTime, FixedOffset, Local, NaiveDate, NaiveTime};
use serde_json::json;

use crate::report::{Paint, Screen};
use crate::run::audit::{Line, What};
use crate::run::record::Ended;
use crate::run::store::Store;
use crate::run::verify::verify;
use crate::secret::Error;

use super::runs::table;

/// Shows the lines since a day, or a moment.
pub fn show(store: &Store, since: Option<&str>, as_json: bool, screen: &Screen) -> Result<(), Error> {
    let since = since.map(moment).transpose()?;
    let audit = store.audit();
    let trail = audit.read().map_err(|e| Error::io("read", audit.path(), &e))?;
    let is_wanted = |line: &&Line| {
        let at = DateTime::parse_from_rfc3339(&line.at);
        since.is_none_or(|since| at.is_ok_and(|at| at >= since))
    };
    let lines: Vec<&Line> = trail.lines.iter().flatten().filter(is_wanted).collect();
    if as_json {
        lines.iter().for_each(|line| screen.json_line(json!(line)));
    } else if lines.is_empty() {
        screen.line(Paint::Plain, &format!("There is nothing in {}.", audit.path().display()));
    } else {
        let head = ["WHEN", "WHO", "WHAT", "RUN", "PLAYBOOK", "INVENTORY", "HOSTS", "CHANGED", "WHY"];
        let rows: Vec<_> =
            std::iter::once(head.map(String::from)).chain(lines.iter().map(|l| row(l))).collect();
        table(&rows).iter().for_each(|line| screen.line(Paint::Plain, line));
    }
    if !trail.wrong.is_empty() {
        screen.error_line(
            Paint::Failed,
            &format!(
                "{} of these lines can't be believed: seqn-play runs verify tells which and why",
                trail.wrong.len()
            ),
        );
    }
    Ok(())
}

/// Whether all is as it was written.
pub fn check(store: &Store, as_json: bool, screen: &Screen) -> Result<bool, Error> {
    let verified = verify(store)?;
    let whole = verified.wrong.is_empty();
    if as_json {
        let told = json!({"lines": verified.lines, "runs": verified.runs, "wrong": verified.wrong});
        screen.json_line(told);
        return Ok(whole);
    }
    verified.wrong.iter().for_each(|wrong| screen.error_line(Paint::Failed, wrong));
    let many = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let of =
        format!("{} of the audit trail, {}", many(verified.lines, "line"), many(verified.runs, "journal"));
    match whole {
        true => screen.line(Paint::Ok, &format!("Whole: {of}.")),
        false => screen.error_line(
            Paint::Failed,
            &format!(
                "Not as written: {} of {of}. Compare with a backup of {}.",
                verified.wrong.len(),
                store.folder().display()
            ),
        ),
    }
    Ok(whole)
}

fn row(line: &Line) -> [String; 9] {
    let changed: Vec<String> = line.changed.iter().map(|(host, n)| format!("{host}={n}")).collect();
    let mut changed = changed.join(" ");
    if line.taken_back > 0 {
        changed = format!("{changed} {} taken back", line.taken_back).trim().to_string();
    }
    let at = DateTime::parse_from_rfc3339(&line.at)
        .map_or_else(|_| line.at.clone(), |at| at.format("%Y-%m-%d %H:%M:%S").to_string());
    [
        at,
        line.by.clone(),
        word(line).into(),
        line.run.clone(),
        line.playbooks.join(" "),
        line.inventory.join(" "),
        line.hosts.join(","),
        changed,
        line.reason.clone().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" "),
    ]
}

fn word(line: &Line) -> &'static str {
    match (line.what, line.ending) {
        (What::Begun, _) => "begun",
        (What::Resumed, _) => "resumed",
        (What::GoingBack, _) => "going back",
        (What::Ended, Some(Ended::Fine)) => "finished",
        (What::Ended, Some(Ended::Interrupted)) => "interrupted",
        (What::Ended, Some(Ended::RolledBack)) => "rolled back",
        (What::Ended, Some(Ended::NotRolledBack)) => "half rolled back",
        (What::Ended, Some(Ended::Failed)) => "failed",
        (What::Ended, None) => "ended",
        (What::Abandoned, _) => "abandoned",
        (What::Pruned, _) => "pruned",
    }
}

/// A day begins at its first moment here.
fn moment(text: &str) -> Result<DateTime<FixedOffset>, Error> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at);
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    let first = day.and_then(|day| day.and_time(NaiveTime::MIN).and_local_timezone(Local).earliest());
    first.map(|at| at.fixed_offset()).ok_or_else(|| {
        Error::refused(format!("--since {text} is no date"))
            .help("give a day, 2026-11-26, or a moment, 2026-11-26T14:00:00+01:00")
    })
}
