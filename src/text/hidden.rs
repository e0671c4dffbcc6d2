//! Which characters are not shown as they are: by Unicode's categories and properties.

/// `Default_Ignorable_Code_Point` (Unicode 17, DerivedCoreProperties.txt) where the category is that of a letter or
/// a mark: the fillers and selectors that every font shows as nothing. The property is stable: what is added to it
/// comes from the ranges that are reserved for it, which are unassigned until then.
const SHOWN_AS_NOTHING: [(char, char); 9] = [
    ('\u{34f}', '\u{34f}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180d}'),
    ('\u{180f}', '\u{180f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{e0100}', '\u{e01ef}'),
];

/// Categories Cc, Cf, Cn, Co, Zl and Zp, and what is shown as nothing. Spaces (Zs) and marks stay.
pub(super) fn hides(c: char) -> bool {
    match c {
        ' '..='~' => false,
        _ if c.is_control() => true,
        '\u{2028}' | '\u{2029}' => true,
        // The rest of White_Space is Zs.
        _ if c.is_whitespace() => false,
        _ => !is_printable(c) || SHOWN_AS_NOTHING.iter().any(|(first, last)| (first..=last).contains(&&c)),
    }
}

/// The standard library's own table, which `{:?}` of a string uses: it is that of the Unicode of the compiler, and
/// costs no dependency. Behind another character, since a mark at the beginning of a string is escaped, too.
fn is_printable(c: char) -> bool {
    let mut text = [b'a'; 5];
    let length = c.encode_utf8(&mut text[1..]).len();
    let text = std::str::from_utf8(&text[..=length]).unwrap_or_default();
    text.escape_debug().nth(1) == Some(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_or_reorders_is_hidden_and_what_is_read_stays() {
        // One of each category and property: bidirectional marks, joiners, tags, fillers, selectors, noncharacters.
        for c in "\u{61c}\u{ad}\u{3164}\u{180e}\u{fff9}\u{e0041}\u{1d173}\u{600}\u{2028}\u{202e}\u{200d}\u{200c}\u{fe0f}\
                  \u{e0100}\u{115f}\u{ffa0}\u{34f}\u{e000}\u{10fffd}\u{fdd0}\u{ffff}\u{378}\u{feff}\u{9b}\u{7f}\u{0}\u{2065}"
            .chars()
        {
            assert!(hides(c), "{:x}", u32::from(c));
        }
        for c in " ~é漢\u{301}\u{3000}\u{a0}ब\u{93f}👍\u{fffd}א\u{5b4}".chars() {
            assert!(!hides(c), "{:x}", u32::from(c));
        }
    }

    /// Against a second table, that of Python, for every code point.
    #[test]
    fn categories_are_those_of_unicode() {
        let script = "import sys, unicodedata as u\n\
                      print(u.unidata_version)\n\
                      print(' '.join(u.category(chr(i)) for i in range(0x110000)))";
        let python = std::process::Command::new("python3").args(["-c", script]).output();
        let Ok(output) = python else {
            // As `tests/support/privilege.rs` has it, which this is out of reach of.
            assert!(std::env::var_os("UNTAR_REQUIRE_ALL").is_none(), "no python3");
            return;
        };
        let text = String::from_utf8(output.stdout).expect("categories");
        let (version, categories) = text.split_once('\n').expect("version and categories");
        let (major, ours) = (version.split('.').next(), char::UNICODE_VERSION.0);
        let theirs: u8 = major.and_then(|major| major.parse().ok()).expect("a version");
        for (code, category) in (0..).zip(categories.split_whitespace()) {
            let Some(c) = char::from_u32(code) else { continue };
            let ignorable = SHOWN_AS_NOTHING.iter().any(|(first, last)| (first..=last).contains(&&c));
            match category {
                "Cc" | "Cf" | "Co" | "Zl" | "Zp" => assert!(hides(c), "{code:x} {category}"),
                // Assigned since, or not yet here.
                "Cn" => assert!(hides(c) || theirs < ours, "{code:x} {category}"),
                _ => assert!(hides(c) == ignorable || theirs > ours, "{code:x} {category}"),
            }
        }
    }
}
