//! Many texts, looked for at once: in time linear in what is searched, and added one by one.
//!
//! Nearly every byte of output costs one look at a bit: whether what begins there begins like any of
//! them. An automaton searches as fast, but takes longer to build than most runs print.

use std::collections::{BTreeSet, HashSet};
use std::ops::{Bound, Range};

use super::forms::MIN_LENGTH;

/// How many first bytes decide whether it's worth a closer look.
const HEAD: usize = MIN_LENGTH;
const FILTER_BITS: u32 = 18;

/// Texts of at least [`MIN_LENGTH`] bytes to be found in others.
pub(super) struct Needles {
    /// In order: the longest that begins a text stands before it, or is the beginning of one that does.
    all: BTreeSet<Box<[u8]>>,
    heads: HashSet<u64>,
    /// A bit for the hash of each head.
    filter: Box<[u64]>,
    longest: usize,
}

impl Default for Needles {
    fn default() -> Needles {
        let filter = vec![0; 1 << (FILTER_BITS - 6)].into_boxed_slice();
        Needles { all: BTreeSet::new(), heads: HashSet::new(), filter, longest: 0 }
    }
}

impl Needles {
    /// Shorter ones than [`MIN_LENGTH`] are not taken.
    pub fn add(&mut self, needle: &str) {
        let needle = needle.as_bytes();
        if needle.len() < HEAD || self.all.contains(needle) {
            return;
        }
        let head = needle[..HEAD].iter().fold(0, |head, byte| next(head, *byte));
        let (word, bit) = place(head);
        self.filter[word] |= bit;
        self.heads.insert(head);
        self.longest = self.longest.max(needle.len());
        self.all.insert(needle.into());
    }

    /// Where they stand, in order, overlapping ones as one. Those that only touch stay apart.
    pub fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        if self.all.is_empty() {
            return found;
        }
        let mut head = 0;
        for (end, byte) in text.iter().enumerate() {
            head = next(head, *byte);
            let (word, bit) = place(head);
            if self.filter[word] & bit == 0 || end + 1 < HEAD || !self.heads.contains(&head) {
                continue;
            }
            let start = end + 1 - HEAD;
            let Some(length) = self.longest_at(&text[start..]) else { continue };
            match found.last_mut() {
                Some(last) if start < last.end => last.end = last.end.max(start + length),
                _ => found.push(start..start + length),
            }
        }
        found
    }

    /// The length of the longest one that `text` begins with.
    fn longest_at(&self, text: &[u8]) -> Option<usize> {
        let mut text = &text[..text.len().min(self.longest)];
        loop {
            let before = (Bound::Unbounded, Bound::Included(text));
            let nearest = self.all.range::<[u8], _>(before).next_back()?;
            let same = nearest.iter().zip(text).take_while(|(a, b)| a == b).count();
            if same == nearest.len() {
                return Some(same);
            }
            // What else begins `text` is no longer than what they share.
            if same < HEAD {
                return None;
            }
            text = &text[..same];
        }
    }

    /// How many bytes at the end of `text` could be the beginning of one.
    pub fn begun(&self, text: &[u8]) -> usize {
        let most = self.longest.saturating_sub(1).min(text.len());
        (1..=most).rev().find(|n| self.begins(&text[text.len() - n..])).unwrap_or(0)
    }

    /// Whether one begins with `tail` and is longer.
    fn begins(&self, tail: &[u8]) -> bool {
        let after = (Bound::Excluded(tail), Bound::Unbounded);
        self.all.range::<[u8], _>(after).next().is_some_and(|next| next.starts_with(tail))
    }
}

/// The last [`HEAD`] bytes as a number, one byte further.
fn next(head: u64, byte: u8) -> u64 {
    (head >> 8) | (u64::from(byte) << (8 * (HEAD - 1)))
}

/// The word and bit of the filter.
fn place(head: u64) -> (usize, u64) {
    let hash = head.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - FILTER_BITS);
    ((hash >> 6) as usize, 1 << (hash & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needles(all: &[&str]) -> Needles {
        let mut needles = Needles::default();
        all.iter().for_each(|needle| needles.add(needle));
        needles
    }

    fn found(needles: &Needles, text: &str) -> Vec<(usize, usize)> {
        needles.find(text.as_bytes()).iter().map(|range| (range.start, range.end)).collect()
    }

    #[test]
    fn finds_the_longest_and_merges_what_overlaps() {
        let n = needles(&["abcdef", "abcdefghi", "abcdefgzz", "ghijkl", "short", "abcdef"]);
        for (text, expected) in [
            ("", vec![]),
            ("abcde", vec![]),
            ("abcdef", vec![(0, 6)]),
            ("xabcdefgh", vec![(1, 7)]),
            ("abcdefghi abcdefgzz", vec![(0, 9), (10, 19)]),
            ("abcdefghijkl", vec![(0, 12)]),
            ("abcdefabcdef", vec![(0, 6), (6, 12)]),
            ("short", vec![]),
        ] {
            assert_eq!(found(&n, text), expected, "{text}");
        }
        assert!(needles(&[]).find(b"anything at all").is_empty());
    }

    #[test]
    fn a_shorter_one_behind_others_that_share_more() {
        let n = needles(&["aaaaaa", "aaaaaab", "aaaaaabbb", "aaaaaabbc", "aaaaaabbd"]);
        assert_eq!(found(&n, "aaaaaabbx"), [(0, 7)]);
        assert_eq!(found(&n, "aaaaaaxxx"), [(0, 6)]);
    }

    #[test]
    fn what_may_become_one() {
        let n = needles(&["hunter2hunter2", "xyzxyz"]);
        for (text, expected) in
            [("Password: ", 0), ("a hunter2", 7), ("hunter2hunter2", 7), ("xyzx", 4), ("", 0)]
        {
            assert_eq!(n.begun(text.as_bytes()), expected, "{text}");
        }
    }
}
