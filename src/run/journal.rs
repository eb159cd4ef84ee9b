//! The file of a run: one record a line, each with a checksum that is chained to the line before.
//!
//! A line is `{"sum":"<32 hex digits>","record":{…}}`. The sum is the first half of the SHA-256 of
//! the sum before it and the record's JSON exactly as it stands; the first is chained to the id of
//! the run. So a line that was changed, taken out, or comes from another run is noticed, and all
//! before it is still good. A last line without its newline was being written when the program died.

use crate::source::hex::hex;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

const BEFORE_SUM: &str = "{\"sum\":\"";
const BEFORE_RECORD: &str = "\",\"record\":";
const SUM_LENGTH: usize = 32;

/// When a record must be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Before the call returns.
    Now,
    /// With the next one that must be.
    Later,
}

/// A journal that can be appended to.
#[derive(Debug)]
pub struct Journal {
    file: File,
    sum: String,
}

/// What a journal holds.
#[derive(Debug)]
pub struct Journaled<R> {
    pub records: Vec<R>,
    pub end: End,
    /// Bytes of the whole lines.
    length: u64,
    sum: String,
}

/// How the reading ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    Whole,
    /// The last line was being written when the program died; it says nothing.
    Torn,
    /// From this line on (the first is 1) nothing can be believed.
    Damaged {
        line: usize,
        why: String,
    },
}

impl Journal {
    /// A new journal for this run; its folder must be there.
    ///
    /// # Errors
    /// There is one already, or it can't be written.
    pub fn create(path: &Path, run: &str) -> std::io::Result<Journal> {
        let file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(path)?;
        if let Some(dir) = path.parent() {
            File::open(dir)?.sync_all()?;
        }
        Ok(Journal { file, sum: first_sum(run) })
    }

    /// Goes on with a journal that was read whole; what was torn is cut off.
    ///
    /// # Errors
    /// It can't be written.
    pub fn reopen<R>(path: &Path, read: &Journaled<R>) -> std::io::Result<Journal> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        file.set_len(read.length)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Journal { file, sum: read.sum.clone() })
    }

    /// Goes on at the end of a file that is there, after a line with this sum.
    pub(super) fn at_end_of(file: File, sum: String) -> Journal {
        Journal { file, sum }
    }

    /// Of the last line.
    pub fn sum(&self) -> &str {
        &self.sum
    }

    /// All of it, as it is in the file.
    ///
    /// # Errors
    /// It can't be read.
    pub fn text(&mut self) -> std::io::Result<String> {
        let mut text = String::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_string(&mut text)?;
        self.file.seek(SeekFrom::End(0))?;
        Ok(text)
    }

    /// Writes one record; the line as it was written.
    ///
    /// # Errors
    /// The disk is full, or broken: nobody may go on as if it were written.
    pub fn append(&mut self, record: &impl Serialize, sync: Sync) -> std::io::Result<String> {
        let record = serde_json::to_string(record).map_err(std::io::Error::other)?;
        let sum = next_sum(&self.sum, &record);
        let line = format!("{BEFORE_SUM}{sum}{BEFORE_RECORD}{record}}}\n");
        self.file.write_all(line.as_bytes())?;
        if sync == Sync::Now {
            self.file.sync_data()?;
        }
        self.sum = sum;
        Ok(line)
    }
}

/// Reads the journal of `run`; never fails: what can't be believed ends it.
pub fn read<R: DeserializeOwned>(bytes: &[u8], run: &str) -> Journaled<R> {
    let mut read = Journaled { records: Vec::new(), end: End::Whole, length: 0, sum: first_sum(run) };
    for (index, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
        let Some(whole) = line.strip_suffix(b"\n") else {
            read.end = End::Torn;
            break;
        };
        match read_line(whole, &read.sum) {
            Ok((record, sum)) => {
                read.records.push(record);
                read.sum = sum;
                read.length += line.len() as u64;
            }
            Err(why) => {
                read.end = End::Damaged { line: index + 1, why };
                break;
            }
        }
    }
    read
}

pub(super) fn read_line<R: DeserializeOwned>(line: &[u8], before: &str) -> Result<(R, String), String> {
    let text = std::str::from_utf8(line).map_err(|_| "it isn't text".to_string())?;
    let (sum, record) = parts(text).ok_or("it isn't a line of a journal")?;
    if sum != next_sum(before, record) {
        return Err(
            "its checksum is wrong: it was changed, lines before it are gone, or it is from another run"
                .into(),
        );
    }
    let parsed = serde_json::from_str(record)
        .map_err(|e| format!("its checksum is right, but this version of seqn-play doesn't know it: {e}"))?;
    Ok((parsed, sum.to_string()))
}

fn parts(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix(BEFORE_SUM)?;
    let (sum, rest) = rest.split_at_checked(SUM_LENGTH)?;
    let record = rest.strip_prefix(BEFORE_RECORD)?.strip_suffix('}')?;
    Some((sum, record))
}

/// The sum as it stands in a line, believed or not; of what is no line one of its own.
pub(super) fn sum_of(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    parts(&text).map_or_else(|| half_sha256(&[&text]), |(sum, _)| sum.to_string())
}

/// The record as it stands in a line, believed or not.
pub(super) fn record_of<R: DeserializeOwned>(line: &[u8]) -> Option<R> {
    let (_, record) = parts(std::str::from_utf8(line).ok()?)?;
    serde_json::from_str(record).ok()
}

pub(super) fn first_sum(run: &str) -> String {
    half_sha256(&["run ", run])
}

fn next_sum(before: &str, record: &str) -> String {
    half_sha256(&[before, record])
}

fn half_sha256(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    parts.iter().for_each(|p| digest.update(p.as_bytes()));
    hex(&digest.finalize()[..SUM_LENGTH / 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn written(run: &str) -> (tempfile::TempDir, std::path::PathBuf, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::create(&path, run).unwrap();
        for n in 0..4 {
            journal.append(&json!({ "n": n, "text": "x}\"\n{" }), Sync::Now).unwrap();
        }
        let bytes = std::fs::read(&path).unwrap();
        (dir, path, bytes)
    }

    fn numbers(read: &Journaled<Value>) -> Vec<i64> {
        read.records.iter().map(|r| r["n"].as_i64().unwrap()).collect()
    }

    #[test]
    fn cut_at_every_byte_keeps_every_whole_line() {
        let (_dir, path, bytes) = written("a");
        for cut in 0..=bytes.len() {
            let read: Journaled<Value> = read(&bytes[..cut], "a");
            let whole = bytes[..cut].iter().filter(|b| **b == b'\n').count();
            assert_eq!(numbers(&read), (0..whole as i64).collect::<Vec<_>>(), "cut at {cut}");
            let at_line = cut == 0 || bytes[cut - 1] == b'\n';
            assert_eq!(read.end, if at_line { End::Whole } else { End::Torn }, "cut at {cut}");
            // And it can be gone on with.
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let mut journal = Journal::reopen(&path, &read).unwrap();
            journal.append(&json!({ "n": 99 }), Sync::Later).unwrap();
            let again: Journaled<Value> = super::read(&std::fs::read(&path).unwrap(), "a");
            assert_eq!((again.records.len(), again.end), (whole + 1, End::Whole), "cut at {cut}");
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed_and_loses_no_earlier_record() {
        let (_dir, _path, bytes) = written("a");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read: Journaled<Value> = read(&flipped, "a");
            let before = bytes[..bit / 8].iter().filter(|b| **b == b'\n').count();
            assert_ne!(read.end, End::Whole, "bit {bit}");
            assert_eq!(numbers(&read), (0..before as i64).collect::<Vec<_>>(), "bit {bit}");
        }
    }

    #[test]
    fn lines_of_another_run_and_lines_out_of_order_are_noticed() {
        let (_a, _, a) = written("a");
        let (_b, _, b) = written("b");
        let lines = |bytes: &[u8]| -> Vec<Vec<u8>> {
            bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
        };
        let (a, b) = (lines(&a), lines(&b));
        let mixed =
            |parts: &[&Vec<u8>]| -> Vec<u8> { parts.iter().flat_map(|l| l.iter().copied()).collect() };
        for (parts, good) in [
            (vec![&a[0], &b[1], &a[2]], 1),
            (vec![&b[0]], 0),
            (vec![&a[0], &a[2]], 1),
            (vec![&a[1], &a[0]], 0),
            (vec![&a[0], &a[0]], 1),
        ] {
            let read: Journaled<Value> = read(&mixed(&parts), "a");
            assert_eq!(read.records.len(), good);
            assert!(matches!(&read.end, End::Damaged { line, .. } if *line == good + 1), "{:?}", read.end);
        }
    }

    #[test]
    fn noise_is_no_journal() {
        for noise in [&b"\n"[..], b"{}\n", b"{\"sum\":\"\xff\n", b"\0\0\0\n", b"{\"sum\":\"\xc3\xa9\n"] {
            let read: Journaled<Value> = read(noise, "a");
            assert!(matches!(read.end, End::Damaged { line: 1, .. }), "{noise:?}: {:?}", read.end);
        }
    }
}
