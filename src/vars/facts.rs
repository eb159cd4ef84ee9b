//! Facts: one POSIX script in one round trip, and its output as Ansible's facts.

use crate::source::Map;

/// What `setup` is asked for.
#[derive(Debug, Clone)]
pub struct Gather {
    /// `gather_subset`: `all`, `min`, `network`, `!hardware`, …
    pub subset: Vec<String>,
    /// `filter`: globs on fact names, with or without `ansible_`; empty means everything.
    pub filter: Vec<String>,
    /// `fact_path`: where `*.fact` files lie.
    pub fact_path: String,
}

impl Default for Gather {
    fn default() -> Gather {
        Gather { subset: vec!["all".into()], filter: vec![], fact_path: "/etc/ansible/facts.d".into() }
    }
}

impl Gather {
    /// The script to run with `sh` on the host: POSIX only, reads, never writes.
    ///
    /// # Errors
    /// An unknown subset, with those that exist.
    pub fn script(&self) -> Result<String, String> {
        Ok(String::new())
    }

    /// The facts in the script's output, under Ansible's names (`ansible_…`), filter applied.
    ///
    /// # Errors
    /// Output that is cut off or isn't the script's.
    pub fn parse(&self, output: &[u8]) -> Result<Map, String> {
        let _ = output;
        Ok(Map::new())
    }
}
