//! Shell-like words with their places, as ini host lines are split (Python's `shlex`, comments on).

/// A word after quotes and escapes are taken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub text: String,
    /// Bytes into the line.
    pub start: usize,
    pub end: usize,
}

/// Splits one line; `#` outside quotes begins a comment, even within a word.
///
/// # Errors
/// A quote that is not closed, a backslash at the end.
pub(super) fn split(line: &str) -> Result<Vec<Word>, &'static str> {
    let mut words: Vec<Word> = vec![];
    let mut word: Option<Word> = None;
    let mut quote: Option<char> = None;
    let mut chars = line.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (None, '#') => {
                words.extend(word.take());
                return Ok(words);
            }
            (None, ' ' | '\t' | '\r' | '\n') => {
                words.extend(word.take());
                continue;
            }
            _ => {}
        }
        let word = word.get_or_insert_with(|| Word { text: String::new(), start: at, end: at });
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None | Some('"'), '\\') => {
                let Some((_, escaped)) = chars.next() else { return Err("No escaped character") };
                if quote.is_some() && !matches!(escaped, '\\' | '"') {
                    word.text.push('\\');
                }
                word.text.push(escaped);
            }
            (_, c) => word.text.push(c),
        }
        word.end = chars.offset();
    }
    if quote.is_some() {
        return Err("No closing quotation");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_shlexs() {
        for (line, want) in [
            ("a b=c", Ok(vec!["a", "b=c"])),
            ("a\tb='x y' # c", Ok(vec!["a", "b=x y"])),
            (r#"a b="'q#u'" "#, Ok(vec!["a", "b='q#u'"])),
            ("a#b c", Ok(vec!["a"])),
            (r"a\ b", Ok(vec!["a b"])),
            (r#""a\"b\n\\""#, Ok(vec![r#"a"b\n\"#])),
            (r"'a\b'", Ok(vec![r"a\b"])),
            ("''", Ok(vec![""])),
            ("a 'b", Err("No closing quotation")),
            ("a \\", Err("No escaped character")),
        ] {
            let got = split(line).map(|words| words.into_iter().map(|w| w.text).collect::<Vec<_>>());
            let want = want.map(|w: Vec<&str>| w.into_iter().map(String::from).collect());
            assert_eq!(got, want, "{line}");
        }
        let words = split("é  b='x y'").unwrap();
        assert_eq!((words[1].start, words[1].end), (4, 11));
    }
}
