//! `rehearsal.json`: everything, for programs. Keys are stable.

use super::Rehearsal;

pub fn write(rehearsal: &Rehearsal) -> String {
    // Texts and numbers: it can't fail.
    serde_json::to_string_pretty(rehearsal).unwrap_or_default() + "\n"
}
