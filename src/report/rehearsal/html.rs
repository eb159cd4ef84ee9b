//! `rehearsal.html`: one page that needs nothing beside it, fit to be attached to a change request.

use std::fmt::Write;

use super::{Case, Phase, Rehearsal, Verdict, short};
use crate::report::markup::escaped as e;

/// Of a timeline, in units of its SVG.
const WIDTH: f64 = 1000.0;
const LABELS: f64 = 260.0;
const ROW: f64 = 18.0;
/// Longer names are cut in a timeline; the whole one is shown where a mouse rests.
const NAME: usize = 40;

const STYLE: &str = "
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1c2430;background:#fff}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #dde2e8;vertical-align:top}
th{font-weight:600;color:#56606e}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.passed{color:#176b37}.failed{color:#b3261e;font-weight:600}.skipped{color:#6b7480}
.banner{display:inline-block;padding:.15rem .7rem;border-radius:.3rem;color:#fff;font-weight:600}
.banner.passed{background:#176b37;color:#fff}.banner.failed{background:#b3261e;color:#fff}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:1rem 0}dt{color:#56606e}dd{margin:0;overflow-wrap:anywhere}
pre{margin:.3rem 0;white-space:pre-wrap;overflow-wrap:anywhere;background:#f5f6f8;padding:.5rem;border-radius:.3rem}
svg{width:100%;height:auto;font:11px system-ui,sans-serif}code{overflow-wrap:anywhere}
@media print{body{margin:0;max-width:none}}
";

pub fn write(rehearsal: &Rehearsal) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>Rehearsal of {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
        e(&rehearsal.playbook)
    );
    head(&mut page, rehearsal);
    stages(&mut page, rehearsal);
    for phase in &rehearsal.phases {
        timeline(&mut page, phase);
    }
    if !rehearsal.phases.is_empty() {
        page += "<p class=\"skipped\">Endpoints: green is well, red is away. Tasks: blue is ok, yellow is changed, red is failed. A dashed line is a Step that was begun, or was taken back.</p>\n";
    }
    outages(&mut page, rehearsal);
    predictions(&mut page, rehearsal);
    faults(&mut page, rehearsal);
    page + "</body>\n</html>\n"
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Failed => "failed",
        Verdict::Skipped => "skipped",
    }
}

fn head(page: &mut String, rehearsal: &Rehearsal) {
    let (word, colour) = (rehearsal.verdict(), class(rehearsal.verdict()));
    writeln!(page, "<h1>Rehearsal of {}</h1>", e(&rehearsal.playbook)).ok();
    writeln!(page, "<p><span class=\"banner {colour}\">{word}</span></p>\n<dl>").ok();
    let rows = [
        ("on", format!("{} ({})", rehearsal.inventory.join(", "), rehearsal.hosts.join(", "))),
        ("when", format!("{}, {:.0} s", rehearsal.begun, rehearsal.seconds)),
        ("by", rehearsal.by.clone()),
        ("reason", rehearsal.reason.clone().unwrap_or_default()),
        ("extent", rehearsal.extent()),
        ("content", format!("SHA-256 {}", rehearsal.content)),
        ("rehearsal", format!("{}, seqn-play {}", rehearsal.id, rehearsal.version)),
    ];
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(page, "<dt>{name}</dt><dd>{}</dd>", e(value)).ok();
    }
    *page += "</dl>\n";
    for left in &rehearsal.left {
        writeln!(page, "<p class=\"failed\">Left behind: {}</p>", e(left)).ok();
    }
}

fn stages(page: &mut String, rehearsal: &Rehearsal) {
    *page += "<h2>Stages</h2>\n<table>\n<tr><th>stage</th><th>verdict</th><th class=\"n\">seconds</th><th>what was seen</th></tr>\n";
    for stage in &rehearsal.stages {
        let findings = match stage.findings.is_empty() {
            true => String::new(),
            false => format!("<pre>{}</pre>", e(&stage.findings.join("\n"))),
        };
        writeln!(
            page,
            "<tr><td>{}</td><td class=\"{}\">{}</td><td class=\"n\">{:.1}</td><td>{}{findings}</td></tr>",
            e(&stage.name),
            class(stage.verdict),
            stage.verdict,
            stage.seconds,
            e(&stage.summary)
        )
        .ok();
    }
    *page += "</table>\n";
}

/// Rows of tasks and endpoints over one axis of time, with a line where a Step was begun.
fn timeline(page: &mut String, phase: &Phase) {
    let tasks: Vec<_> = phase.tasks.iter().filter(|task| task.status != "skipped").collect();
    let rows = tasks.len() + phase.endpoints.len();
    if rows == 0 || phase.seconds <= 0.0 {
        return;
    }
    let height = (rows as f64 + 2.0) * ROW;
    let x = |at: f64| LABELS + (WIDTH - LABELS) * (at / phase.seconds).clamp(0.0, 1.0);
    let bar = |page: &mut String, row: usize, from: f64, to: f64, colour: &str, title: &str| {
        let (left, top) = (x(from), (row as f64 + 1.0) * ROW + 3.0);
        let wide = (x(to) - left).max(1.5);
        writeln!(
            page,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{:.1}\" fill=\"{colour}\"><title>{}</title></rect>",
            ROW - 6.0,
            e(title)
        )
        .ok();
    };
    let name = |page: &mut String, row: usize, text: &str| {
        let base = (row as f64 + 2.0) * ROW - 5.0;
        let shown = e(&short(text, NAME));
        writeln!(page, "<text x=\"0\" y=\"{base:.1}\">{shown}<title>{}</title></text>", e(text)).ok();
    };
    writeln!(page, "<h2>Timeline: {} ({:.1} s)</h2>", e(&phase.name), phase.seconds).ok();
    writeln!(page, "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"timeline\">").ok();
    axis(page, phase.seconds, height, &x);
    for step in &phase.steps {
        let (at, title) = (x(step.at), format!("{:.1} s [{}] {}", step.at, step.host, step.label));
        writeln!(
            page,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{ROW}\" y2=\"{:.1}\" stroke=\"#b58900\" stroke-dasharray=\"2 2\"><title>{}</title></line>",
            height - ROW,
            e(&title)
        )
        .ok();
    }
    for (row, watched) in phase.endpoints.iter().enumerate() {
        name(page, row, &watched.name);
        bar(page, row, 0.0, phase.seconds, "#bfe3cb", &format!("{}: well", watched.name));
        for outage in &watched.outages {
            let title = format!(
                "{}: away for {:.1} s, from {:.1} s: {}",
                watched.name,
                outage.to - outage.from,
                outage.from,
                outage.why
            );
            bar(page, row, outage.from, outage.to, "#b3261e", &title);
        }
    }
    for (index, task) in tasks.iter().enumerate() {
        let row = phase.endpoints.len() + index;
        let colour = match task.status.as_str() {
            "changed" => "#b58900",
            "failed" | "unreachable" => "#b3261e",
            _ => "#5b8fc7",
        };
        name(page, row, &task.task);
        let title = format!("[{}] {}: {}, {:.1} s", task.host, task.task, task.status, task.to - task.from);
        bar(page, row, task.from, task.to, colour, &title);
    }
    *page += "</svg>\n";
}

fn axis(page: &mut String, seconds: f64, height: f64, x: &dyn Fn(f64) -> f64) {
    let wanted = seconds / 8.0;
    let steps = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0];
    let step = steps.into_iter().find(|step| *step >= wanted).unwrap_or(1800.0);
    let mut at = 0.0;
    while at <= seconds {
        let left = x(at);
        writeln!(
            page,
            "<line x1=\"{left:.1}\" x2=\"{left:.1}\" y1=\"{ROW}\" y2=\"{:.1}\" stroke=\"#e4e8ed\"/><text x=\"{left:.1}\" y=\"{:.1}\" fill=\"#56606e\">{} s</text>",
            height - ROW,
            height - 4.0,
            (at * 10.0).round() / 10.0
        )
        .ok();
        at += step;
    }
}

fn outages(page: &mut String, rehearsal: &Rehearsal) {
    let watched = || rehearsal.phases.iter().flat_map(|p| p.endpoints.iter().map(move |w| (p, w)));
    if watched().next().is_none() {
        return;
    }
    *page += "<h2>What a prober saw</h2>\n<table>\n<tr><th>during</th><th>endpoint</th><th class=\"n\">probes</th><th class=\"n\">away, s</th><th>outages</th></tr>\n";
    for (phase, endpoint) in watched() {
        let outages: Vec<String> = (endpoint.outages.iter())
            .map(|o| {
                let open = if o.open { ", still away at the end" } else { "" };
                format!("{:.1} to {:.1} s{open}: {}", o.from, o.to, o.why)
            })
            .collect();
        writeln!(
            page,
            "<tr><td>{}</td><td>{}<br><code>{}</code></td><td class=\"n\">{}</td><td class=\"n\">{:.1}</td><td>{}</td></tr>",
            e(&phase.name),
            e(&endpoint.name),
            e(&endpoint.url),
            endpoint.probes,
            endpoint.away(),
            if outages.is_empty() { "none".into() } else { e(&outages.join("\n")).replace('\n', "<br>") }
        )
        .ok();
    }
    *page += "</table>\n";
}

fn predictions(page: &mut String, rehearsal: &Rehearsal) {
    let tables = rehearsal.predictions().flat_map(|(run, prediction)| {
        [
            (format!("Wrong predictions of the {run}"), &prediction.wrong),
            (format!("Not known before the {run}"), &prediction.unknown),
        ]
    });
    for (title, all) in tables.filter(|(_, all)| !all.is_empty()) {
        writeln!(page, "<h2>{title}</h2>\n<table>").ok();
        *page += "<tr><th>task</th><th>host</th><th>predicted</th><th>it was</th><th>why</th></tr>\n";
        for one in all {
            let item = one.item.as_ref().map(|item| format!(" ({item})")).unwrap_or_default();
            writeln!(
                page,
                "<tr><td>{}{}<br><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                e(&one.task),
                e(&item),
                e(&one.at),
                e(&one.host),
                e(&one.predicted),
                e(&one.happened),
                e(one.cause.as_deref().unwrap_or_default())
            )
            .ok();
        }
        *page += "</table>\n";
    }
}

fn faults(page: &mut String, rehearsal: &Rehearsal) {
    if rehearsal.cases.is_empty() {
        return;
    }
    writeln!(page, "<h2>Faults ({} of {} cases)</h2>", rehearsal.cases.len(), rehearsal.cases_in_all).ok();
    writeln!(page, "<pre>{}</pre>", e(super::fault_table(&rehearsal.cases).trim())).ok();
    *page += "<details><summary>Every case</summary>\n<table>\n<tr><th>fault</th><th>at</th><th>then</th><th>verdict</th><th>how the run ended</th><th class=\"n\">seconds</th></tr>\n";
    rehearsal.cases.iter().for_each(|case| row(page, case));
    *page += "</table>\n</details>\n";
}

fn row(page: &mut String, case: &Case) {
    let word = match case.verdict {
        Verdict::Passed => e(&case.word),
        Verdict::Failed | Verdict::Skipped => format!("<pre>{}</pre>", e(&case.word)),
    };
    writeln!(
        page,
        "<tr><td>{}</td><td>{} {}: {}</td><td>{}</td><td class=\"{}\">{}</td><td>{word}</td><td class=\"n\">{:.1}</td></tr>",
        e(&case.fault),
        e(&case.place),
        case.step,
        e(&case.label),
        e(&case.then),
        class(case.verdict),
        case.verdict,
        case.seconds
    )
    .ok();
}
