//! Matrices of faults: the database rotation on staging VPSs, with something dying at each of its
//! Steps. Each test that includes this uses a part of it.

#![allow(dead_code)]

pub mod fault;
pub mod operator;

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Mutex;
use std::time::Instant;

use operator::Operator;

/// As many as there are cores; each has a VPS of its own.
const SANDBOXES: usize = 2;

/// A case and what it came to: a word for the table, or what is wrong.
pub type Result<C> = (C, std::result::Result<String, String>);

/// Runs every case, each on a VPS that is as a finished rotation leaves it.
pub fn run<C: Send + Display>(
    raise: impl Fn() -> Operator + Sync,
    cases: Vec<C>,
    each: impl Fn(&Operator, &C) -> std::result::Result<String, String> + Sync,
) -> Vec<Result<C>> {
    let queue = Mutex::new(VecDeque::from(cases));
    let next = || queue.lock().expect("no panic").pop_front();
    let worker = || {
        let mut operator = raise();
        let mut done = Vec::new();
        while let Some(case) = next() {
            let began = Instant::now();
            let result = each(&operator, &case);
            let word = result.as_ref().map_or("FAILED", String::as_str);
            println!("{case}: {word} ({:.1} s)", began.elapsed().as_secs_f64());
            // After a failure nobody knows what is there.
            if result.is_err() {
                operator = raise();
            }
            done.push((case, result));
        }
        done
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..SANDBOXES).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    })
}

/// All of them with `SEQN_MATRIX=all`; else one in `of`, chosen by `SEQN_MATRIX=NUMBER` or by 1, so
/// that the same ones are chosen again.
pub fn sample<C>(cases: Vec<C>, of: u64) -> Vec<C> {
    let wanted = std::env::var("SEQN_MATRIX").unwrap_or_default();
    if wanted == "all" {
        return cases;
    }
    let seed: u64 = wanted.parse().unwrap_or(1);
    let count = cases.len();
    let chosen: Vec<C> = cases
        .into_iter()
        .enumerate()
        .filter(|(n, _)| scattered(seed, *n as u64).is_multiple_of(of))
        .map(|c| c.1)
        .collect();
    println!("{} of {count} cases (SEQN_MATRIX={seed}; `all` takes all of them)", chosen.len());
    chosen
}

/// SplitMix64: neighbours have nothing in common.
fn scattered(seed: u64, n: u64) -> u64 {
    let mut x = seed.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A row for each Step, a column for each place.
pub fn table(
    title: &str,
    steps: &[String],
    columns: &[&str],
    cell: impl Fn(usize, &str) -> String,
) -> String {
    let line = |first: &str, cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!("{cell:<17}")).collect();
        format!("{first:<44} {cells}").trim_end().to_string()
    };
    let mut rows = vec![line(title, columns.iter().map(ToString::to_string).collect())];
    for (index, label) in steps.iter().enumerate() {
        let short: String = label.chars().take(40).collect();
        let cells = columns.iter().map(|column| cell(index + 1, column)).collect();
        rows.push(line(&format!("{:>2} {short}", index + 1), cells));
    }
    rows.join("\n")
}

/// Says what is wrong with each that failed.
pub fn assert_all_well<C: Display>(results: &[Result<C>]) {
    let failed: Vec<String> = results
        .iter()
        .filter_map(|(case, result)| result.as_ref().err().map(|why| format!("{case}: {why}")))
        .collect();
    assert!(failed.is_empty(), "{} of {} failed:\n{}", failed.len(), results.len(), failed.join("\n\n"));
}
