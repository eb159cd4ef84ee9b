//! `# seqn-play: allow rule -- reason` and `# noqa: rule`: findings that someone has judged.

use std::collections::HashMap;
use std::sync::Arc;

use crate::source::diagnostic::nearest;
use crate::source::yaml::span_at;
use crate::source::{Diagnostic, SourceFile, Span};

use super::rule::Finding;
use super::{Project, rules};

const MARK: &str = "seqn-play:";
const USAGE: &str = "write `# seqn-play: allow RULE -- why this is right here`";

/// What is left of the rules' findings.
pub struct Verdict {
    /// Those that no comment allows, and what is wrong with the comments.
    pub findings: Vec<Diagnostic>,
    pub allowed: usize,
}

/// One comment.
struct Allowance {
    rules: Vec<String>,
    /// Lines that it speaks of: its own, or, if it has that for itself, the next one with more than
    /// a comment.
    line: u32,
    span: Span,
    /// Ours say why, and are pointed out when they allow nothing; a `noqa` may speak to other
    /// programs.
    is_ours: bool,
    used: bool,
}

/// Takes away what comments allow.
pub fn apply(project: &Project, found: Vec<Finding>) -> Verdict {
    let mut findings = Vec::new();
    let mut allowances: HashMap<&str, Vec<Allowance>> = HashMap::new();
    for document in &project.documents {
        let of_file = read(&document.file, &mut findings);
        if !of_file.is_empty() {
            allowances.insert(&document.file.name, of_file);
        }
    }
    let mut allowed = 0;
    for finding in found {
        let name = finding.diagnostic.span.as_ref().map_or("", |span| span.file.name.as_str());
        let speaks_of = |allowance: &&mut Allowance| {
            finding.lines.contains(&allowance.line)
                && allowance.rules.iter().any(|rule| rule == finding.diagnostic.code)
        };
        match allowances.get_mut(name).and_then(|all| all.iter_mut().find(speaks_of)) {
            Some(allowance) => {
                allowance.used = true;
                allowed += 1;
            }
            None => findings.push(finding.diagnostic),
        }
    }
    let unused = allowances.values().flatten().filter(|allowance| allowance.is_ours && !allowance.used);
    findings.extend(unused.map(|allowance| {
        let message = format!("nothing is found here that this allows: {}", allowance.rules.join(", "));
        Diagnostic::warning("unused-allow", message, &allowance.span).help("take the comment away")
    }));
    Verdict { findings, allowed }
}

/// The allowances of a file.
fn read(file: &Arc<SourceFile>, problems: &mut Vec<Diagnostic>) -> Vec<Allowance> {
    let text = &file.text;
    if !text.contains(MARK) && !text.contains("noqa") {
        return Vec::new();
    }
    let mut found = Vec::new();
    // Above the line that they speak of.
    let mut waiting = Vec::new();
    let mut start = 0;
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let comment = comment_start(line).map(|at| (at, &line[at + 1..]));
        let has_more = !line[..comment.map_or(line.len(), |(at, _)| at)].trim().is_empty();
        if has_more {
            found.extend(waiting.drain(..).map(|allowance| Allowance { line: number, ..allowance }));
        }
        if let Some((at, comment)) = comment {
            let span = span_at(file, start + at, start + line.trim_end().len());
            if let Some(allowance) = allowance(comment.trim(), number, span, problems) {
                if has_more { found.push(allowance) } else { waiting.push(allowance) }
            }
        }
        start += line.len();
    }
    found.extend(waiting);
    found
}

/// Where a comment begins that could be one of these. (A `#` inside of quotes could be taken for
/// one; only a text that holds such a comment can tell.)
fn comment_start(line: &str) -> Option<usize> {
    line.char_indices()
        .filter(|(at, c)| *c == '#' && line[..*at].chars().next_back().is_none_or(char::is_whitespace))
        .map(|(at, _)| at)
        .next()
}

fn allowance(comment: &str, line: u32, span: Span, problems: &mut Vec<Diagnostic>) -> Option<Allowance> {
    let names = |list: &str| -> Vec<String> {
        list.split([',', ' ']).map(str::trim).filter(|n| !n.is_empty()).map(String::from).collect()
    };
    if let Some(list) = comment.strip_prefix("noqa") {
        let list = list.trim_start_matches(':').split("--").next().unwrap_or("");
        return Some(Allowance { rules: names(list), line, span, is_ours: false, used: false });
    }
    let said = comment.strip_prefix(MARK)?.trim();
    let Some(said) = said.strip_prefix("allow").filter(|rest| rest.is_empty() || rest.starts_with(' '))
    else {
        let message = format!("`{MARK}` is not followed by something known");
        problems.push(Diagnostic::warning("bad-allow", message, &span).help(USAGE));
        return None;
    };
    let (list, reason) = said.split_once("--").unwrap_or((said, ""));
    let rules = names(list);
    if reason.trim().is_empty() {
        let message = "this doesn't say why it is allowed";
        problems.push(Diagnostic::warning("bad-allow", message, &span).help(USAGE));
    }
    for rule in rules.iter().filter(|rule| rules::find(rule).is_none()) {
        let problem = Diagnostic::warning("bad-allow", format!("there is no rule `{rule}`"), &span);
        let known = rules::RULES.iter().map(|rule| rule.name);
        problems.push(match nearest(rule, known) {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem.help("`seqn-play lint --rules` lists them"),
        });
    }
    let known: Vec<String> = rules.into_iter().filter(|rule| rules::find(rule).is_some()).collect();
    (!known.is_empty()).then_some(Allowance { rules: known, line, span, is_ours: true, used: false })
}
