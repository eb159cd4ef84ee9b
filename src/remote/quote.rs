//! Quoting for `sh`.

/// `text` as one word that every POSIX shell reads back exactly.
pub fn quote(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_string();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quote;
    use std::process::Command;

    #[test]
    fn every_shell_reads_it_back() {
        for text in
            ["", "a b", "it's", "$x `y` \\ \"q\"", "*?[a]", "line\nline", "é\t!", "-n", "~", "a;b&c|d"]
        {
            let out =
                Command::new("sh").args(["-c", &format!("printf %s {}", quote(text))]).output().unwrap();
            assert_eq!(out.stdout, text.as_bytes(), "{text:?}");
        }
    }
}
