//! Which image is meant, as people write it behind the path.

use super::digest;
use crate::report::Digest;

/// What a reference is by its form alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reference<'a> {
    /// `@N`: the N-th of the list, from 0, as skopeo has it.
    Number(usize),
    /// `sha256:…`, its digits alone, or `NAME@sha256:…`: the digest decides, whatever anything is called.
    Digest(Digest),
    /// `sha256:` and the digits that a digest begins with: the one that does, whatever anything is called.
    Short(&'a str),
    /// A tag, a name, or the name of a configuration in a docker archive.
    Name(&'a str),
}

impl Reference<'_> {
    pub(super) fn parse(text: &str) -> Reference<'_> {
        let (name, behind) = text.rsplit_once('@').unwrap_or(("", text));
        if let Ok(digest) = digest::parse(behind) {
            return Reference::Digest(digest);
        }
        if let ("", Some(digits)) = (name, behind.strip_prefix("sha256:").and_then(short)) {
            return Reference::Short(digits);
        }
        let number = text.strip_prefix('@').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        match (number.and_then(|digits| digits.parse().ok()), Digest::from_hex(text)) {
            (Some(number), _) if name.is_empty() => Reference::Number(number),
            (_, Some(digest)) => Reference::Digest(digest),
            _ => Reference::Name(text),
        }
    }
}

/// As much of a digest as docker prints, or more of it.
pub(super) fn short(text: &str) -> Option<&str> {
    const PRINTED: usize = 12;
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    Some(text).filter(|text| digits && (PRINTED..64).contains(&text.len()))
}

/// The name with all that it leaves unsaid: `debian`, `debian:latest` and `docker.io/library/debian:latest` are one.
pub(super) fn full_name(name: &str) -> String {
    let host = name.split_once('/').map(|(first, _)| first);
    let has_host = host.is_some_and(|host| host.contains(['.', ':']) || host == "localhost");
    let name = match (has_host, name.contains('/')) {
        (true, _) => name.to_owned(),
        (false, true) => format!("docker.io/{name}"),
        (false, false) => format!("docker.io/library/{name}"),
    };
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains([':', '@']) { name } else { format!("{name}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        let hex = "ab".repeat(32);
        let digest = Reference::Digest(Digest([0xab; 32]));
        for text in [format!("sha256:{hex}"), hex.clone(), format!("app@sha256:{hex}"), format!("a.b/c:1@sha256:{hex}")]
        {
            assert_eq!(Reference::parse(&text), digest, "{text}");
        }
        for (text, number) in [("@0", 0), ("@17", 17)] {
            assert_eq!(Reference::parse(text), Reference::Number(number));
        }
        for text in [format!("sha256:{}", &hex[..12]), format!("@sha256:{}", &hex[..12])] {
            assert_eq!(Reference::parse(&text), Reference::Short(&hex[..12]));
        }
        let upper = hex.to_uppercase();
        for text in [
            "latest",
            "1",
            "@",
            "@-1",
            "@99999999999999999999999",
            "a@0",
            "app@sha256:0",
            "sha256:abababababa",
            "app@sha256:abababababab",
            "abababababab",
            &format!("{hex}.json"),
            &upper,
        ] {
            assert_eq!(Reference::parse(text), Reference::Name(text));
        }
    }

    #[test]
    fn names_are_compared_whole() {
        for (a, b, want) in [
            ("debian", "docker.io/library/debian:latest", true),
            ("debian:12", "docker.io/library/debian:12", true),
            ("me/app", "docker.io/me/app:latest", true),
            ("localhost:5000/app", "localhost:5000/app:latest", true),
            ("localhost/app:1", "docker.io/localhost/app:1", false),
            ("debian", "debian:12", false),
        ] {
            assert_eq!(full_name(a) == full_name(b), want, "{a} {b}");
        }
    }
}
