//! What the Redactor alone costs.

use std::time::{Duration, Instant};

use seqn_play::secret::{MASK, Redactor};

/// Output in which one line in fifty holds a secret.
const MIB: usize = 1024 * 1024;

pub struct Cost {
    /// Learning all secrets, once a run.
    pub learning: Duration,
    /// Each MiB of output.
    pub mib: Duration,
}

/// Of generated secrets; of those that every format quotes in its own way.
pub const PLAIN: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
pub const AWKWARD: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=$-";

/// With so many random secrets.
pub fn cost(secrets: usize, letters: &str) -> Cost {
    let secrets: Vec<_> =
        (0..secrets).map(|_| seqn_play::secret::generate(letters, 40).expect("random bytes")).collect();
    let secrets: Vec<&str> = secrets.iter().filter_map(|secret| secret.expose()).collect();
    let mut lines = Vec::new();
    for n in 0..MIB / 70 {
        let end = if n % 50 == 0 { secrets[n % secrets.len()] } else { "has 1834 bytes" };
        lines.push(format!("changed: [vps] => /srv/seqn-auth/.env is now 0600 and {end}"));
    }
    let began = Instant::now();
    let redactor = Redactor::new();
    for secret in &secrets {
        redactor.register(secret);
    }
    let learning = began.elapsed();
    let began = Instant::now();
    // Line by line, as a run prints.
    let hidden = lines.iter().filter(|line| redactor.redact(line).contains(MASK)).count();
    let took = began.elapsed();
    assert_eq!(hidden, (MIB / 70).div_ceil(50), "what was to be hidden");
    let bytes: usize = lines.iter().map(String::len).sum();
    Cost { learning, mib: took.mul_f64(MIB as f64 / bytes as f64) }
}
