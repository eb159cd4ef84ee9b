//! `rehearsal.txt`, and what a terminal shows at the end.

use super::{Case, FINE, Rehearsal, Verdict};

pub fn write(rehearsal: &Rehearsal) -> String {
    let mut text = format!(
        "Rehearsal {} of {} on {} ({})\n{}, by {}, {}\n\n",
        rehearsal.id,
        rehearsal.playbook,
        rehearsal.inventory.join(", "),
        rehearsal.hosts.join(", "),
        rehearsal.begun,
        rehearsal.by,
        rehearsal.extent(),
    );
    for stage in &rehearsal.stages {
        text +=
            &format!("{:<11} {:<8} {:>7.1} s  {}\n", stage.name, stage.verdict, stage.seconds, stage.summary);
        stage.findings.iter().for_each(|finding| text += &indented(finding));
    }
    text += &outages(rehearsal);
    text += &fault_table(&rehearsal.cases);
    for (run, prediction) in rehearsal.predictions().filter(|(_, p)| !p.unknown.is_empty()) {
        text += &format!("\nNot known before the {run}:\n");
        prediction.unknown.iter().for_each(|one| text += &indented(&one.to_string()));
    }
    rehearsal.left.iter().for_each(|left| text += &format!("\nleft behind: {left}\n"));
    text += &format!("\n{} in {:.1} s\n", rehearsal.verdict(), rehearsal.seconds);
    text
}

fn outages(rehearsal: &Rehearsal) -> String {
    let rows: Vec<String> = (rehearsal.phases.iter())
        .flat_map(|phase| phase.endpoints.iter().map(move |endpoint| (phase, endpoint)))
        .map(|(phase, endpoint)| {
            format!(
                "{:<11} {:<32} {:>6.1} s away, {} times, {} probes\n",
                phase.name,
                short(&endpoint.name, 32),
                endpoint.away(),
                endpoint.outages.len(),
                endpoint.probes
            )
        })
        .collect();
    if rows.is_empty() { String::new() } else { format!("\n{}", rows.concat()) }
}

/// A row for each fault: how many led to a place that is well, by resume and by rollback.
pub fn fault_table(cases: &[Case]) -> String {
    if cases.is_empty() {
        return String::new();
    }
    let mut faults: Vec<&str> = Vec::new();
    for case in cases {
        if !faults.contains(&case.fault.as_str()) {
            faults.push(&case.fault);
        }
    }
    let (resume, rollback, none) = ("then resume", "then rollback", "nothing to resume");
    let mut text = format!("\n{:<24} {resume:>16} {rollback:>16} {none:>18}\n", "fault");
    for fault in faults {
        let count = |then: &str| {
            let of = || cases.iter().filter(move |c| c.fault == fault && c.then == then);
            let ran = of().filter(|c| c.verdict != Verdict::Skipped).count();
            format!("{}/{ran} well", of().filter(|c| c.verdict == Verdict::Passed).count())
        };
        // The run went well in spite of it.
        let fine = cases.iter().filter(|c| c.fault == fault && c.then == "resume" && c.word == FINE).count();
        text += &format!("{fault:<24} {:>16} {:>16} {fine:>18}\n", count("resume"), count("rollback"));
    }
    text
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// At most so many characters.
pub fn short(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_string(),
    }
}
