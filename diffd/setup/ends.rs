//! The ends of lines of a file that is changed stay what they are. Pure.

/// What was made of the text `before`, with its ends of lines; `toml_edit` writes plain ones.
///
/// # Errors
///
/// It has both kinds, of which one would be lost.
pub(super) fn as_in(before: &str, after: &str) -> Result<String, String> {
    let (with_return, all) = (before.matches("\r\n").count(), before.matches('\n').count());
    match with_return {
        0 => Ok(after.to_owned()),
        _ if with_return == all => Ok(after.replace("\r\n", "\n").replace('\n', "\r\n")),
        _ => Err("some of its lines end in CR LF and some in LF: make them one first".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_returns_has_them_on_every_line_and_another_has_none() {
        assert_eq!(as_in("a\r\nb\r\n", "a\nx\nb\n").as_deref(), Ok("a\r\nx\r\nb\r\n"));
        assert_eq!(as_in("a\n", "a\nb\n").as_deref(), Ok("a\nb\n"));
        assert_eq!(as_in("", "a\n").as_deref(), Ok("a\n"));
        assert!(as_in("a\r\nb\n", "a\n").is_err());
    }
}
