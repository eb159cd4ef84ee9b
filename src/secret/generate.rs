//! New secrets, from the operating system's random source.

use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use super::{Error, ErrorKind, Secret};

/// `[A-Za-z0-9]`: every reader of a secret survives it (shells, URLs, `.env`, SQL, YAML).
pub const ALPHANUMERIC: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Characters that a generated secret has at least.
pub const MIN_LENGTH: usize = 32;

/// Bits of entropy that a generated secret has at least.
pub const MIN_BITS: f64 = 160.0;

/// A new secret of `length` characters, each drawn evenly from `alphabet`.
///
/// # Errors
/// Fewer than [`MIN_LENGTH`] characters or [`MIN_BITS`] bits; an alphabet with a repeated character
/// or fewer than two; no random source.
pub fn generate(alphabet: &str, length: usize) -> Result<Secret, Error> {
    let letters = letters(alphabet)?;
    let per_character = (letters.len() as f64).log2();
    let enough = (MIN_BITS / per_character).ceil().max(MIN_LENGTH as f64) as usize;
    if length < enough {
        return Err(Error::refused(format!(
            "a secret of {length} characters from an alphabet of {} is too weak: {:.0} bits, \
             and at least {MIN_BITS} bits and {MIN_LENGTH} characters are required",
            letters.len(),
            per_character * length as f64,
        ))
        .help(format!("ask for a length of at least {enough}")));
    }
    random_text(&letters, length)
}

/// `length` characters drawn evenly from `alphabet`, however few: what `lookup('password')` asks
/// for by its own rules.
///
/// # Errors
/// An alphabet with a repeated character or fewer than two; no random source.
pub fn generate_any(alphabet: &str, length: usize) -> Result<Secret, Error> {
    random_text(&letters(alphabet)?, length)
}

fn letters(alphabet: &str) -> Result<Vec<char>, Error> {
    let letters: Vec<char> = alphabet.chars().collect();
    let mut unique = letters.clone();
    unique.sort_unstable();
    unique.dedup();
    if unique.len() != letters.len() {
        return Err(Error::refused("the alphabet has a character twice, which would make it likelier"));
    }
    if letters.len() < 2 {
        return Err(Error::refused("the alphabet has fewer than two characters"));
    }
    Ok(letters)
}

fn random_text(letters: &[char], length: usize) -> Result<Secret, Error> {
    let widest = letters.iter().map(|c| c.len_utf8()).max().unwrap_or(1);
    let mut text = Zeroizing::new(String::with_capacity(length * widest));
    for _ in 0..length {
        text.push(letters[random_below(letters.len() as u32)? as usize]);
    }
    Ok(Secret::from_bytes(text.as_bytes()))
}

/// An even choice from `0..n`: values of the last, incomplete round are drawn again.
fn random_below(n: u32) -> Result<u32, Error> {
    let rounds = u32::MAX - u32::MAX % n;
    loop {
        let word = SysRng
            .try_next_u32()
            .map_err(|e| Error::new(ErrorKind::Io, format!("the system's random source failed: {e}")))?;
        if word < rounds {
            return Ok(word % n);
        }
    }
}

/// `N` random bytes from the system.
///
/// # Errors
/// No random source.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|e| Error::new(ErrorKind::Io, format!("the system's random source failed: {e}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strength_is_required() {
        assert_eq!(generate(ALPHANUMERIC, 32).unwrap().len(), 32);
        let weak = generate(ALPHANUMERIC, 31).unwrap_err();
        assert!(weak.message.contains("31 characters from an alphabet of 62"), "{weak}");
        assert_eq!(weak.help.as_deref(), Some("ask for a length of at least 32"));
        let hex = generate("0123456789abcdef", 32).unwrap_err();
        assert!(hex.message.contains("128 bits"), "{hex}");
        assert_eq!(hex.help.as_deref(), Some("ask for a length of at least 40"));
        assert!(generate("0123456789abcdef", 40).is_ok());
        assert!(generate("aab", 4000).unwrap_err().message.contains("twice"));
        assert!(generate("a", 4000).unwrap_err().message.contains("fewer than two"));
    }

    #[test]
    fn every_character_is_as_likely() {
        // 62,000 draws, 1,000 expected each; six standard deviations are about 190.
        let text = generate(ALPHANUMERIC, 62_000).unwrap();
        for letter in ALPHANUMERIC.bytes() {
            let seen = text.expose_bytes().iter().filter(|b| **b == letter).count();
            assert!((800..1200).contains(&seen), "{} came {seen} times", letter as char);
        }
        assert_ne!(generate(ALPHANUMERIC, 40).unwrap(), generate(ALPHANUMERIC, 40).unwrap());
    }

    #[test]
    fn any_alphabet_can_be_asked_for_by_lookup() {
        assert_eq!(generate_any("ä€", 5).unwrap().expose().unwrap().chars().count(), 5);
    }
}
